"""The schema of the log store: numbered SQL files, applied in order, forward only.

Every statement can be run twice without harm (IF NOT EXISTS, OR REPLACE), because replicas that start together may
both run it: ClickHouse has no lock to take. Each file opens with why it exists and what it costs on a full table.
"""

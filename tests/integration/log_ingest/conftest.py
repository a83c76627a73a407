"""The store over HTTP, for the tests of outages."""

from tests.support.clickhouse import clickhouse_url

__all__ = ["clickhouse_url"]

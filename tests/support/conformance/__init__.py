"""The conformance tables: what tests prove of each provider, kept in services/gateway/providers/README.md.

A test of an operation says what it proves with `@pytest.mark.proves(provider=..., operation=...)`. A test of a feature
finds out what becomes of it and says so with the fixture `cell`. `python -m tests.support.conformance` runs the tests
that prove something and writes the tables from those that passed. It fails when a test failed, when a table was not
what the file had, and when a cell is unproven. `--check` leaves the file alone. In any other run a test of a feature
fails when it finds something else than the table says.
"""

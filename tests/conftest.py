"""Registers the fixtures that several folders share."""

pytest_plugins = ["tests.support.kafka"]

"""Options of providers and aliases of credentials, from finops.yaml to the governed entity."""

import pytest

from services.budget.desired_state import desired_state
from shared.config_file import parse_config
from shared.errors import ConfigurationError

TEXT = """
providers:
  claude:
    type: anthropic
    options: { region: eu }
    credentials:
      - name: main
        api_key: env.CLAUDE_KEY
        aliases: { fast: claude-haiku-4-5 }
"""


def test_they_reach_the_gateway() -> None:
    provider = desired_state(parse_config(TEXT), {}).providers["claude"]
    assert provider.options == {"region": "eu"}
    assert provider.credentials[0].aliases == {"fast": "claude-haiku-4-5"}


@pytest.mark.parametrize("wrong", ["{ Region: eu }", "{ region: 3 }", "[region]"])
def test_what_is_wrong_is_named(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"providers\.claude\.options"):
        parse_config(TEXT.replace("{ region: eu }", wrong))

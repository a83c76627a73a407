"""Anthropic's betas for Claude at Bedrock, which refuses a request for any that it does not know."""

from typing import Final

from services.gateway.providers.anthropic.betas import HEADER, betas_of
from services.gateway.providers.bedrock.families import Family
from services.gateway.providers.chat.policy import Fit
from services.gateway.providers.port import Target

FIELD: Final = "anthropic_beta"
_PASSED: Final = frozenset(
    {
        "context-1m-2025-08-07",
        "interleaved-thinking-2025-05-14",
        "output-128k-2025-02-19",
        "token-efficient-tools-2025-02-19",
        "dev-full-thinking-2025-05-14",
    }
)
"""Of those that Bedrock knows (its user guide, "Anthropic Claude Messages API") the ones that mean something without
fields of Anthropic's own, which Converse has not. A client names others in `additionalModelRequestFields`."""


def passed_betas(target: Target, family: Family, fitted: Fit) -> list[str]:
    """Those of the client's that go along. For other families they mean nothing."""
    if family != "anthropic":
        return []
    asked = betas_of((target.passed_headers.get(HEADER),))
    if not _PASSED.issuperset(asked):
        fitted.drop(HEADER)
    return [beta for beta in asked if beta in _PASSED]

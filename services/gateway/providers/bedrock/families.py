"""What the makers of the models want different, as far as Converse does not hide it."""

import re
from typing import Final, Literal

Family = Literal[
    "anthropic", "nova", "titan", "cohere", "stability", "gpt-oss", "deepseek", "other", "unknown"
]

_MARKS: Final[tuple[tuple[str, Family], ...]] = (
    ("anthropic.", "anthropic"),
    ("amazon.nova", "nova"),
    ("amazon.titan", "titan"),
    ("cohere.", "cohere"),
    ("stability.", "stability"),
    ("openai.gpt-oss", "gpt-oss"),
    ("deepseek.", "deepseek"),
    ("claude", "anthropic"),
)
_MAKER: Final = re.compile(r"(?:^|[./])[a-z0-9-]+\.[a-z0-9]")
_NO_SAMPLING: Final = re.compile(r"claude-(?:[a-z]+-4-[7-9]|[a-z]+-[5-9])(?!\d)")

CACHING: Final[frozenset[Family]] = frozenset({"anthropic", "nova", "unknown"})
"""Families that take cache points; of an unknown one the client must know."""


def family_of(model: str, alias: str = "") -> Family:
    """By the id, or by what the model is called here when the id is an ARN that does not tell."""
    for name in (alias, model):
        for mark, family in _MARKS:
            if mark in name:
                return family
    return "other" if _MAKER.search(alias or model) and not (alias or model).startswith("arn:") else "unknown"


def takes_sampling(model: str) -> bool:
    """It accepts temperature, top_p and top_k."""
    return _NO_SAMPLING.search(model) is None

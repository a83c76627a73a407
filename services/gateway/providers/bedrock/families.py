"""What the makers of the models want different, as far as Converse does not hide it."""

import re
from typing import Final, Literal

Family = Literal[
    "anthropic", "nova", "nova-2", "titan", "cohere", "stability", "gpt-oss", "openai", "other", "unknown"
]

_MARKS: Final[tuple[tuple[str, Family], ...]] = (
    ("anthropic.", "anthropic"),
    ("amazon.nova-2", "nova-2"),
    ("amazon.nova", "nova"),
    ("amazon.titan", "titan"),
    ("cohere.", "cohere"),
    ("stability.", "stability"),
    ("openai.gpt-oss", "gpt-oss"),
    ("openai.", "openai"),
    ("claude", "anthropic"),
)
_MAKER: Final = re.compile(r"(?:^|[./])[a-z0-9-]+\.[a-z0-9]")
_NO_SAMPLING: Final = re.compile(r"claude-(?:[a-z]+-4-[7-9]|[a-z]+-[5-9])(?!\d)")

CACHING: Final[frozenset[Family]] = frozenset({"anthropic", "nova", "nova-2", "unknown"})
"""Families that take cache points; of an unknown one the client must know."""
CACHING_EVERYWHERE: Final[frozenset[Family]] = frozenset({"anthropic", "unknown"})
"""Those that take them among the tools as well, and with a time to keep them."""
TAKES_REASONING: Final[frozenset[Family]] = frozenset({"anthropic", "openai", "unknown"})
"""Those that want their signed reasoning back; the others refuse it."""
KEEPS_FORMATS: Final[frozenset[Family]] = frozenset({"gpt-oss", "openai", "other"})
"""Those that cannot be made to call one tool, but be held to a format of the answer."""
TextFamily = Literal["llama", "mistral", "deepseek"]
_TEXT_MARKS: Final[tuple[tuple[str, TextFamily], ...]] = (
    ("meta.llama", "llama"),
    ("mistral.mistral-7b-instruct", "mistral"),
    ("mistral.mixtral-8x7b-instruct", "mistral"),
    ("mistral.mistral-large-2402", "mistral"),
    ("mistral.mistral-small-2402", "mistral"),
    ("deepseek.r1", "deepseek"),
)
"""Models that InvokeModel gives a bare prompt. All others that still answer want a conversation there."""
NOVA: Final[frozenset[Family]] = frozenset({"nova", "nova-2"})


def telling_name(model: str, alias: str = "") -> str:
    """What says whose a model is: its id, or what it is called here when the id is an ARN that does not tell."""
    return next((name for name in (alias, model) if any(mark in name for mark, _ in _MARKS)), alias or model)


def family_of(model: str, alias: str = "") -> Family:
    """By the name that tells."""
    name = telling_name(model, alias)
    found = next((family for mark, family in _MARKS if mark in name), None)
    if found is not None:
        return found
    return "other" if _MAKER.search(name) and not name.startswith("arn:") else "unknown"


def text_family_of(model: str, alias: str = "") -> TextFamily | None:
    """Whose format a bare prompt has; None for models that take none, or whose name does not tell."""
    name = alias or model
    if name.startswith("arn:") and not any(mark in name for mark, _ in _TEXT_MARKS):
        name = model
    return next((family for mark, family in _TEXT_MARKS if mark in name), None)


def takes_sampling(model: str) -> bool:
    """It accepts temperature, top_p and top_k."""
    return _NO_SAMPLING.search(model) is None

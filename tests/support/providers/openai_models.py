"""What OpenAI's models refuse although its types know it: by the words of the documentation inside of those types."""

import re
from typing import Final

from tests.support.providers.script import Document

_PICTURES: Final = ("/images/generations", "/images/edits")
_OLD_SIZES: Final = {
    "gpt-image-1": ("auto", "1024x1024", "1536x1024", "1024x1536"),
    "dall-e-3": ("1024x1024", "1792x1024", "1024x1792"),
    "dall-e-2": ("256x256", "512x512", "1024x1024"),
}
_SAMPLING: Final = ("temperature", "top_p", "logprobs", "top_logprobs")
_PENALTIES: Final = ("presence_penalty", "frequency_penalty", "logit_bias")
_THINK_UNASKED: Final = (
    "o1",
    "o3",
    "o4",
    "gpt-5-",
    "gpt-5.5",
    "gpt-5.6",
    "gpt-6",
    "gpt-5.1-chat",
    "gpt-5.2-pro",
)
_THINK_ASKED: Final = ("gpt-5.1", "gpt-5.2", "gpt-5.4")
_QUALITIES: Final = {
    "gpt-image-2.5": ("low", "medium", "high", "xhigh", "max", "auto"),
    "gpt-image": ("low", "medium", "high", "auto"),
    "dall-e-3": ("standard", "hd", "auto"),
    "dall-e-2": ("standard", "auto"),
}


def wrong_for_model(path: str, body: Document) -> list[str]:
    """What the model has against a request."""
    model = str(body.get("model") or "")
    if path in _PICTURES:
        return _wrong_picture(model, body)
    if path == "/chat/completions":
        return _wrong_sampling(model, body, body.get("reasoning_effort"))
    if path == "/responses":
        return _wrong_sampling(model, body, (body.get("reasoning") or {}).get("effort"))
    return []


def _wrong_sampling(model: str, body: Document, effort: str | None) -> list[str]:
    unasked = model == "gpt-5" or (model.startswith(_THINK_UNASKED) and not model.startswith("gpt-5-chat"))
    if not unasked and not model.startswith(_THINK_ASKED):
        return []
    thinks = effort != "none" if effort else unasked
    refused = [name for name in (*(_SAMPLING if thinks else ()), *_PENALTIES) if name in body]
    if body.get("max_tokens") is not None:
        refused.append("max_tokens")
    return [f".{name} is not supported with {model}" for name in refused]


def _wrong_picture(model: str, body: Document) -> list[str]:
    wrong = []
    for name in ("style", "response_format"):
        if name in body and model.startswith("gpt-image"):
            wrong.append(f".{name} is unknown to {model}")
    if "input_fidelity" in body and model.startswith("gpt-image-2"):
        wrong.append(f".input_fidelity is unknown to {model}")
    quality, size = body.get("quality"), body.get("size")
    known = next((words for start, words in _QUALITIES.items() if model.startswith(start)), (quality,))
    if quality is not None and quality not in known:
        wrong.append(f".quality cannot be {quality} with {model}")
    if size is not None and not _draws(model, str(size)):
        wrong.append(f".size cannot be {size} with {model}")
    return wrong


def _draws(model: str, size: str) -> bool:
    for start, sizes in _OLD_SIZES.items():
        if model.startswith(start):
            return size in sizes
    if not model.startswith("gpt-image-2") or size == "auto":
        return True
    sides = re.fullmatch(r"(\d+)x(\d+)", size)
    if sides is None:
        return False
    short, long = sorted((int(sides[1]), int(sides[2])))
    return (
        short % 16 == long % 16 == 0
        and long <= 3_840
        and long <= 3 * short
        and 655_360 <= short * long <= 3_840 * 2_160
    )

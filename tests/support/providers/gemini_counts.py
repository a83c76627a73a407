"""How a fake of Google's servers counts tokens, its own models' and Claude's."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from anthropic.types import MessageTokensCount
from anthropic.types.beta.message_count_tokens_params import MessageCountTokensParams as WithBetas
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from google.genai import types

from tests.support.providers import anthropic
from tests.support.providers.sdk_types import refuse
from tests.support.providers.vertex_claude import VERSIONS

Document = dict[str, Any]
CLAUDES_COUNTER: Final = "count-tokens"
CLAUDES_COUNT: Final = 2095
_VERTEX: Final = {"contents", "systemInstruction", "tools", "generationConfig"}


def check_count(path: str, body: Document, check_chat: Callable[[Document], object]) -> None:
    """Raises ValidationError or ValueError. The SDK's types judge; they have no name for a whole request, of which
    the reference of the Gemini API says that it comes instead of the contents, and names its model again."""
    if "/projects/" in path:
        if unknown := set(body) - _VERTEX:
            raise ValueError(f"unknown fields {unknown}")
        types.CountTokensConfig(
            system_instruction=_content(body.get("systemInstruction")),
            tools=[types.Tool.model_validate(one) for one in body.get("tools", ())] or None,
            generation_config=types.GenerationConfig.model_validate(body.get("generationConfig", {})),
        )
        check_chat({"contents": body["contents"]})
    elif "generateContentRequest" in body:
        asked = dict(body["generateContentRequest"])
        if set(body) != {"generateContentRequest"} or not path.endswith(f"/{asked.pop('model')}:countTokens"):
            raise ValueError("a whole request stands alone, and is one of the same model")
        check_chat(asked)
    elif set(body) == {"contents"}:
        check_chat(body)
    else:
        raise ValueError(f"unknown fields {set(body)}")


def counted(tokens: int) -> Any:
    return types.CountTokensResponse(total_tokens=tokens).model_dump(
        mode="json", by_alias=True, exclude_none=True
    )


def uncounted(path: str, models: Mapping[str, Collection[str]]) -> Document | None:
    """What the Gemini API says of a model that it does not have, or not for counting."""
    model = path.rpartition("/")[2].partition(":")[0]
    if "/projects/" in path or "countTokens" in models.get(model, ()):
        return None
    message = f"models/{model} is not found for API version v1beta, or is not supported for countTokens."
    return {"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}


def claudes_count(body: Document, path: str, without: Collection[str]) -> tuple[int, Document]:
    """Status and document. The counter is at the address of a model, in some locations, and knows no `@default`."""
    if path.partition("/locations/")[2].partition("/")[0] in without:
        error = {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}
        return 404, {"error": error}
    asked = dict(body)
    if asked.pop("anthropic_version", None) not in VERSIONS:
        return 400, anthropic.error("invalid_request_error", "anthropic_version: Field required")
    by_betas = asked.pop("anthropic_beta", None) is not None
    try:
        refuse(WithBetas if by_betas else MessageCountTokensParams, asked)
    except ValueError as wrong:
        return 400, anthropic.error("invalid_request_error", str(wrong))
    if "@default" in asked["model"] or asked["model"].startswith("claude-3-"):
        said = f"{asked['model']} is not supported for token counting"
        return 400, anthropic.error("invalid_request_error", said)
    return 200, MessageTokensCount(input_tokens=CLAUDES_COUNT).model_dump()


def _content(value: Any) -> types.Content | None:
    return None if value is None else types.Content.model_validate(value)

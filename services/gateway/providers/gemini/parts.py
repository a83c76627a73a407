"""What one part of Gemini's answer means, for whole answers and streams alike."""

from typing import Any, Final

from services.gateway.providers.chat.completion import new_id
from services.gateway.providers.chat.request import CalledFunction, ReasoningDetail, ToolCall
from services.gateway.providers.gemini.contents import SIGNATURE_FORMAT
from services.gateway.providers.gemini.wire import Candidate, FunctionCall, Grounding, InlineData, Part, Token

FAULTS: Final = frozenset(
    {
        "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
    }
)  # fmt: skip
"""The model went wrong: what it has said so far is not an answer."""


def text_of(part: Part) -> str:
    """The text of a part; code that Google ran stands in it as code."""
    if part.executable_code is not None:
        language = part.executable_code.language.lower()
        return f"\n```{language}\n{part.executable_code.code}\n```\n"
    if part.code_execution_result is not None:
        return f"\n```\n{part.code_execution_result.output}\n```\n"
    return part.text or ""


def call_of(call: FunctionCall, signature: str) -> ToolCall:
    arguments = bytes(call.args).decode() or "{}"
    return ToolCall(
        id=call.id or new_id("call_"),
        function=CalledFunction(call.name, "{}" if arguments == "null" else arguments),
        extra_content={"google": {"thought_signature": signature}} if signature else None,
    )


def signature_detail(signature: str) -> ReasoningDetail:
    """The signature of a text, which has no call to travel with."""
    return ReasoningDetail(type="reasoning.encrypted", data=signature, format=SIGNATURE_FORMAT)


def image_json(data: InlineData, index: int) -> dict[str, Any]:
    """A picture inside a chat's answer, as other gateways show it."""
    url = f"data:{data.mime_type};base64,{data.data}"
    return {"type": "image_url", "index": index, "image_url": {"url": url}}


def annotations_of(grounding: Grounding | None) -> list[dict[str, Any]]:
    """The pages that an answer rests on, as OpenAI's citations."""
    if grounding is None:
        return []
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "url": chunk.web.uri,
                "title": chunk.web.title,
                "start_index": 0,
                "end_index": 0,
            },
        }
        for chunk in grounding.grounding_chunks
        if chunk.web is not None
    ]


def logprobs_of(candidate: Candidate) -> dict[str, Any] | None:
    found = candidate.logprobs_result
    if found is None:
        return None
    content = []
    for at, token in enumerate(found.chosen_candidates):
        tops = found.top_candidates[at].candidates if at < len(found.top_candidates) else []
        content.append({**_token(token), "top_logprobs": [_token(top) for top in tops]})
    return {"content": content, "refusal": None}


def _token(token: Token) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.log_probability, "bytes": list(token.token.encode())}

"""What Google's models say, in the pieces that it is streamed in: all of google-genai's own types."""

import base64
import json
from typing import Any, Final

from google.genai import types

from tests.support.providers.script import RETRY_AFTER_S, Turn, cut
from tests.support.upstream.directives import Directives

SIGNATURE: Final = b"signed by the fake"
NO_SIGNATURE: Final = base64.urlsafe_b64decode("skip_thought_signature_validator")
"""What Google takes in place of the signature of a call that it did not make."""
_STATUS: Final = {"refused": 400, "denied": 403, "limited": 429, "overloaded": 503}
_FAULTS: Final = {
    "error in 200": "error-200",
    "error event": "error-event",
    "break": "cut",
    "early": "end-early",
    "stall": "stall-stream",
    "no usage": "no-usage",
}


def orders_of(turn: Turn) -> Directives:
    fault = _FAULTS.get(turn.fault, "")
    return Directives(
        status=_STATUS.get(turn.fault, 200),
        retry_after=str(RETRY_AFTER_S) if turn.fault == "limited" else "",
        prompt=turn.prompt,
        completion=turn.completion,
        cached=turn.cached,
        faults=frozenset({fault} if fault else ()),
    )


def said(turn: Turn, body: dict[str, Any]) -> list[types.Part]:
    """The parts of a turn, once the signatures of earlier calls were found right."""
    contents = [types.Content.model_validate(one) for one in body["contents"]]
    if any(part.function_response for part in contents[-1].parts or ()):
        check_signatures(contents)
    parts = [types.Part(text=turn.thought, thought=True)] if turn.thought else []
    if not turn.calls:
        return parts + [types.Part(text=piece) for piece in cut(turn.text)]
    return parts + [
        types.Part(
            function_call=types.FunctionCall(id=call.id, name=call.name, args=call.arguments),
            thought_signature=SIGNATURE if at == 0 else None,
        )
        for at, call in enumerate(turn.calls)
    ]


def check_signatures(contents: list[types.Content]) -> None:
    calls = [part for one in contents for part in one.parts or () if part.function_call]
    results = [part for one in contents for part in one.parts or () if part.function_response]
    if len(calls) != len(results) or calls[0].thought_signature not in (SIGNATURE, NO_SIGNATURE):
        raise ValueError("Function call is missing a thought_signature.")


def in_pieces(
    parts: list[types.Part], model: str, orders: Directives, thinks: bool, reason: types.FinishReason
) -> list[types.GenerateContentResponse]:
    return [
        _response(parts[at : at + 1], model, orders, thinks, at + 1, reason if at + 1 == len(parts) else None)
        for at in range(len(parts))
    ]


def _response(
    parts: list[types.Part],
    model: str,
    orders: Directives,
    thinks: bool,
    number: int,
    reason: types.FinishReason | None,
) -> types.GenerateContentResponse:
    usage = None
    if not orders.has("no-usage"):
        usage = types.GenerateContentResponseUsageMetadata(
            prompt_token_count=orders.prompt,
            candidates_token_count=orders.completion if reason else number,
            thoughts_token_count=7 if thinks else None,
            cached_content_token_count=orders.cached or None,
            total_token_count=orders.prompt + orders.completion + (7 if thinks else 0),
        )
    candidate = types.Candidate(
        content=types.Content(role="model", parts=parts), finish_reason=reason, index=0
    )
    return types.GenerateContentResponse(
        candidates=[candidate], usage_metadata=usage, model_version=model, response_id="resp-1"
    )


def joined(responses: list[types.GenerateContentResponse]) -> types.GenerateContentResponse:
    last = responses[-1]
    if last.candidates and last.candidates[0].content:
        last.candidates[0].content.parts = [
            part
            for one in responses
            for candidate in one.candidates or ()
            for part in (candidate.content.parts if candidate.content else None) or ()
        ]
    return last


def stream_of(turn: Turn, model: str) -> bytes:
    """The whole stream of a turn."""
    thinks = bool(turn.thought)
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    responses = in_pieces(said(turn, body), model, orders_of(turn), thinks, types.FinishReason.STOP)
    return b"".join(event(plain(response)) for response in responses)


def plain(response: types.GenerateContentResponse) -> Any:
    return response.model_dump(mode="json", by_alias=True, exclude_none=True)


def event(answer: Any) -> bytes:
    return b"data: " + json.dumps(answer).encode() + b"\r\n\r\n"

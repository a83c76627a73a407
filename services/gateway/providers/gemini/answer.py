"""A whole answer of `:generateContent` as a chat completion."""

from typing import Any

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import ParsedBody
from services.gateway.providers.chat.completion import Said, chat_answer, failed_answer
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.gemini.errors import empty_answer, error_in_text, error_inside
from services.gateway.providers.gemini.parts import (
    FAULTS,
    annotations_of,
    call_of,
    image_json,
    logprobs_of,
    signature_detail,
    text_of,
)
from services.gateway.providers.gemini.usage import finish_reason_of, searches_in, usage_of
from services.gateway.providers.gemini.wire import (
    Candidate,
    GenerateResponse,
    PromptFeedback,
    generate_response,
)
from services.gateway.providers.operations import Operation
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer
from shared.events import Tokens


def read_generated(answer: bytes) -> GenerateResponse | UpstreamError:
    """The answer, or the error that it is instead."""
    try:
        response = generate_response.decode(answer)
    except msgspec.DecodeError:
        return error_in_text(answer) or unreadable_answer()
    error = error_inside(bytes(response.error))
    return response if error is None else error


def reported_in(answer: bytes) -> Usage | None:
    """What Google says that an answer cost, whatever is in it; None where it does not say."""
    try:
        reported = generate_response.decode(answer).usage_metadata
    except msgspec.DecodeError:
        return None  # nobody can say
    return usage_of(reported) if reported is not None else None


def failed(answer: bytes, error: UpstreamError) -> OpenAIAnswer:
    """An answer that is an error, with what it cost all the same."""
    return failed_answer(answer, error, reported_in(answer))


def read_chat_answer(body: ParsedBody, answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    response = read_generated(answer)
    if isinstance(response, UpstreamError):
        return failed(answer, response)
    fault = next((one for one in response.candidates if one.finish_reason in FAULTS), None)
    if fault is not None:
        return failed(answer, empty_answer(fault.finish_reason, fault.finish_message))
    choices = [said_of(one) for one in sorted(response.candidates, key=lambda one: one.index)]
    if not choices:
        if not blocked(response.prompt_feedback):
            return failed(answer, empty_answer("NO_CANDIDATES"))
        choices = [Said(refusal=block_message(response.prompt_feedback), finish_reason="content_filter")]
    model, reported = response.model_version or body.model, response.usage_metadata
    images = sum(len(said.extras.get("images", ())) for said in choices)
    searches = sum(searches_in(one.grounding_metadata, model) for one in response.candidates)
    usage = Usage(Tokens(), estimated=True)
    if reported is not None:
        usage = usage_of(reported, images=images, searches=searches)
    result = chat_answer(model=model, choices=choices, usage=usage, id=response.response_id)
    if reported is None:
        usage = estimate_answer(Operation.CHAT, body, result.body)
        result = chat_answer(model=model, choices=choices, usage=usage, id=response.response_id)
    return result


def blocked(feedback: PromptFeedback | None) -> bool:
    return feedback is not None and bool(feedback.block_reason)


def block_message(feedback: PromptFeedback | None) -> str:
    """Why the prompt was not answered, for people."""
    reason = feedback.block_reason if feedback is not None else ""
    said = feedback.block_reason_message if feedback is not None else ""
    return f"The prompt was blocked by the provider ({reason}){': ' + said if said else '.'}"


def said_of(candidate: Candidate) -> Said:
    said = Said(
        annotations=list(annotations_of(candidate.grounding_metadata)), logprobs=logprobs_of(candidate)
    )
    text: list[str] = []
    thoughts: list[str] = []
    images: list[dict[str, Any]] = []
    for part in candidate.content.parts:
        if part.function_call is not None:
            said.tool_calls.append(call_of(part.function_call, part.thought_signature))
            continue
        if part.inline_data is not None:
            images.append(image_json(part.inline_data, len(images)))
        (thoughts if part.thought else text).append(text_of(part))
        if part.thought_signature:
            said.reasoning_details.append(signature_detail(part.thought_signature))
    whole = "".join(text)
    said.text = whole if whole or not said.tool_calls else None
    said.reasoning = "".join(thoughts)
    if images:
        said.extras = {"images": images}
    said.finish_reason = finish_reason_of(candidate.finish_reason, calls_tools=bool(said.tool_calls))
    return said

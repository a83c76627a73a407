"""OpenAI's Responses format for models of any provider."""

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from services.gateway.errors import ClientError, error_body
from services.gateway.providers.body import JsonBody
from services.gateway.providers.inbound import ChunkTranslator, Inbound
from services.gateway.providers.responses.answer import answer_of
from services.gateway.providers.responses.request import left_out, to_chat
from services.gateway.providers.responses.stream import ResponseEvents
from services.gateway.providers.usage import Usage


class ResponsesFormat:
    """See Inbound. `pictures_in_results`: for providers that take what a tool shows with its result."""

    own_names: Mapping[str, str] = MappingProxyType(
        {
            "logprobs": "include",
            "max_completion_tokens": "max_output_tokens",
            "max_tokens": "max_output_tokens",
            "messages": "input",
            "messages.reasoning": "input.reasoning",
            "messages.reasoning_content": "input.reasoning",
            "messages.reasoning_details": "input.reasoning",
            "reasoning_effort": "reasoning.effort",
            "response_format": "text.format",
            "verbosity": "text.verbosity",
        }
    )

    own_places: tuple[tuple[re.Pattern[str], str], ...] = (
        (re.compile(r"tools\[(\d+)\]\.function\.parameters\b"), r"tools[\1].parameters"),
        (re.compile(r"tools\[(\d+)\]\.function\b"), r"tools[\1]"),
        (re.compile(r"response_format\.json_schema\.schema\b"), "text.format.schema"),
    )

    def __init__(self, *, pictures_in_results: bool = False) -> None:
        self._pictures_in_results = pictures_in_results

    def to_chat(self, body: JsonBody) -> JsonBody:
        return to_chat(body, pictures_in_results=self._pictures_in_results)

    def dropped(self, body: JsonBody) -> tuple[str, ...]:
        return left_out(body)

    def answer(self, body: JsonBody, chat: Mapping[str, msgspec.Raw], usage: Usage) -> bytes:
        return answer_of(body, chat, usage)

    def translator(self, body: JsonBody) -> ChunkTranslator:
        return ResponseEvents(body)

    def error_body(self, error: ClientError) -> bytes:
        return error_body(error)

    def error_event(self, error: ClientError) -> bytes:
        told = {
            "type": "error",
            "sequence_number": 0,
            "code": error.shown_code,
            "message": error.message,
            "param": error.param,
        }
        return b"event: error\ndata: " + msgspec.json.encode(told) + b"\n\n"


def proves_format(form: ResponsesFormat) -> Inbound:
    """Makes the type checker prove that the format fits its port."""
    return form

"""Anthropic's Messages API as a client format: see Inbound."""

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from services.gateway.errors import ClientError
from services.gateway.providers.anthropic.errors import error_json
from services.gateway.providers.body import JsonBody
from services.gateway.providers.inbound import ChunkTranslator
from services.gateway.providers.messages.answer import MessageWriter, message_of
from services.gateway.providers.messages.request import as_chat, left_out
from services.gateway.providers.messages.thinking import EFFORT, USUAL_WAY, Way
from services.gateway.providers.usage import Usage


class MessagesFormat:
    """See Inbound. `way`: the words in which the providers behind it are told how hard to think."""

    own_names: Mapping[str, str] = MappingProxyType(
        {
            "messages": "messages",
            "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
            "reasoning": "thinking",
            "reasoning_effort": EFFORT,
            "response_format": "output_config.format",
            "stop": "stop_sequences",
            "user": "metadata.user_id",
        }
    )

    own_places: tuple[tuple[re.Pattern[str], str], ...] = (
        (re.compile(r"tools\[(\d+)\]\.function\.parameters\b"), r"tools[\1].input_schema"),
        (re.compile(r"tools\[(\d+)\]\.function\b"), r"tools[\1]"),
        (re.compile(r"response_format\.json_schema\.schema\b"), "output_config.format.schema"),
    )

    def __init__(self, way: Way = USUAL_WAY) -> None:
        self._way = way

    def to_chat(self, body: JsonBody) -> JsonBody:
        return as_chat(body, self._way)

    def dropped(self, body: JsonBody) -> tuple[str, ...]:
        return left_out(body, self._way)

    def answer(self, body: JsonBody, chat: Mapping[str, msgspec.Raw], usage: Usage) -> bytes:
        return message_of(body.model, chat, usage)

    def translator(self, body: JsonBody) -> ChunkTranslator:
        return MessageWriter(body.model)

    def error_body(self, error: ClientError) -> bytes:
        return error_json(error.status, error.message, error.shown_code)

    def error_event(self, error: ClientError) -> bytes:
        return b"event: error\ndata: " + self.error_body(error) + b"\n\n"

"""Anthropic's Messages API as a client format: see Inbound. And its count of tokens, for models of anybody else."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from services.gateway.errors import ClientError
from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.anthropic.errors import error_json
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.estimate import estimate_prompt
from services.gateway.providers.inbound import ChunkTranslator
from services.gateway.providers.messages.answer import MessageWriter, message_of
from services.gateway.providers.messages.request import as_chat, left_out
from services.gateway.providers.messages.thinking import EFFORT, Way
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Adapter, Answer, Prepared, Relay, RelayOptions, Target
from services.gateway.providers.usage import Usage
from services.gateway.upstream.port import UpstreamClient, UpstreamRequest, UpstreamResponse
from services.gateway.upstream.whole import WholeResponse
from shared.events import Tokens


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

    def __init__(self, way: Way = "thinking") -> None:
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


class CountAdapter:
    """See Adapter. Estimates the tokens of a request whose provider does not count them; it calls nobody."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        return ()

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        tokens = estimate_prompt(Operation.CHAT, body).prompt
        answer = msgspec.json.encode({"input_tokens": max(1, tokens)})

        async def estimate(client: UpstreamClient, request: UpstreamRequest) -> UpstreamResponse:
            return WholeResponse(answer)

        request = UpstreamRequest("POST", target.provider.base_url, {}, None, target.timeouts)
        return Prepared(request, streams=False, converse=estimate)

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        return OpenAIAnswer(answer, "application/json", Usage(Tokens()))

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        return self._adapter.relay(operation, options)

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return self._adapter.map_error(status, headers, body)

    def models_request(self, target: Target) -> UpstreamRequest | None:
        return self._adapter.models_request(target)

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        return self._adapter.read_models(answer)


def proves_port(adapter: CountAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter

"""One stored request: the row of `request_logs`, made from the event that ended it."""

from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from services.log_ingest.transcript import read_conversation
from shared.eventlog.port import Record, TopicPartition
from shared.events import CostBasis, RequestLogged, Tokens, UsageRecorded

TABLE: Final = "request_logs"
VERSION_ABANDONED: Final = 1
VERSION_LOGGED: Final = 2
_ROW_OVERHEAD_BYTES: Final = 600
_WITHOUT_PRICE: Final[frozenset[CostBasis]] = frozenset({"unpriced"})


class LogRow(NamedTuple):
    """The columns of `request_logs`, in insert order. Times are Unix milliseconds."""

    started_at: int
    request_id: str
    version: int
    ended_at: int
    gateway_id: str
    virtual_key_id: str
    virtual_key_name: str
    endpoint: str
    provider: str
    model: str
    requested_model: str
    stream: bool
    end_user: str
    chat_id: str
    task: str
    client: str
    status: str
    http_status: int
    error_code: str
    error_message: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_read_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    reasoning_tokens: int
    prompt_audio_tokens: int
    prompt_image_tokens: int
    completion_audio_tokens: int
    completion_image_tokens: int
    images: int
    characters: int
    audio_ms: int
    searches: int
    search_units: int
    cost: Decimal | None
    cost_basis: str
    price_version: str
    service_tier: str
    image_quality: str
    image_size: str
    latency_ms: int
    ttft_ms: int | None
    attempts: str
    request: str
    request_bytes: int
    response: str
    response_kind: str
    response_bytes: int
    prompt_text: str
    answer_text: str
    source_topic: str
    source_partition: int
    source_offset: int

    @property
    def source(self) -> TopicPartition:
        return self.source_topic, self.source_partition

    @property
    def approximate_bytes(self) -> int:
        """What the row weighs in memory and on the wire, for the flush limit."""
        bodies = len(self.request) + len(self.response) + len(self.prompt_text) + len(self.answer_text)
        return bodies + len(self.attempts) + _ROW_OVERHEAD_BYTES


def row_of_logged(event: RequestLogged, record: Record) -> LogRow:
    """The full row of a logged exchange. Never fails because of what the bodies hold."""
    request = _text_of(event.request)
    response = _text_of(event.response)
    talk = read_conversation(request, response, event.response_kind)
    return LogRow(
        started_at=event.started_at_ms,
        request_id=event.request_id,
        version=VERSION_LOGGED,
        ended_at=event.ended_at_ms,
        gateway_id=event.gateway_id,
        virtual_key_id=event.virtual_key_id,
        virtual_key_name=event.virtual_key_name,
        endpoint=event.endpoint,
        provider=event.provider,
        model=event.model,
        requested_model=event.requested_model,
        stream=event.stream,
        end_user=event.end_user,
        chat_id=event.chat_id,
        task=event.task,
        client=event.client,
        status=event.outcome,
        http_status=event.http_status,
        error_code=event.error_code,
        error_message=event.error_message,
        finish_reason=event.finish_reason or talk.finish_reason,
        **_token_columns(event.tokens),
        cost=_cost(event.cost_nanos, event.cost_basis),
        cost_basis=event.cost_basis,
        price_version=event.price_version,
        service_tier=event.service_tier,
        image_quality=event.image_quality,
        image_size=event.image_size,
        latency_ms=event.latency_ms,
        ttft_ms=event.ttft_ms,
        attempts=msgspec.json.encode(event.attempts).decode(),
        request=request,
        request_bytes=event.request_bytes,
        response=response,
        response_kind=event.response_kind,
        response_bytes=event.response_bytes,
        prompt_text=talk.prompt_text,
        answer_text=talk.answer_text,
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
    )


def row_of_abandoned(event: UsageRecorded, record: Record) -> LogRow:
    """The metadata of a request whose gateway died; its true log, should it arrive, supersedes this."""
    return LogRow(
        started_at=event.started_at_ms,
        request_id=event.request_id,
        version=VERSION_ABANDONED,
        ended_at=event.at_ms,
        gateway_id=event.gateway_id,
        virtual_key_id=event.virtual_key_id,
        virtual_key_name=event.virtual_key_name,
        endpoint=event.endpoint,
        provider=event.provider,
        model=event.model,
        requested_model="",
        stream=event.stream,
        end_user=event.end_user,
        chat_id="",
        task="",
        client="",
        status=event.outcome,
        http_status=event.http_status,
        error_code=event.error_code,
        error_message="",
        finish_reason="",
        **_token_columns(event.tokens),
        cost=_cost(event.cost_nanos, event.cost_basis),
        cost_basis=event.cost_basis,
        price_version=event.price_version,
        service_tier=event.service_tier,
        image_quality=event.image_quality,
        image_size=event.image_size,
        latency_ms=event.latency_ms,
        ttft_ms=event.ttft_ms,
        attempts="[]",
        request="",
        request_bytes=0,
        response="",
        response_kind="none",
        response_bytes=0,
        prompt_text="",
        answer_text="",
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
    )


def _token_columns(tokens: Tokens) -> dict[str, int]:
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "cached_read_tokens": tokens.cached_read,
        "cache_write_tokens": tokens.cache_write,
        "cache_write_1h_tokens": tokens.cache_write_1h,
        "reasoning_tokens": tokens.reasoning,
        "prompt_audio_tokens": tokens.prompt_audio,
        "prompt_image_tokens": tokens.prompt_image,
        "completion_audio_tokens": tokens.completion_audio,
        "completion_image_tokens": tokens.completion_image,
        "images": tokens.images,
        "characters": tokens.characters,
        "audio_ms": tokens.audio_ms,
        "searches": tokens.searches,
        "search_units": tokens.search_units,
    }


def _cost(nanos: int, basis: CostBasis) -> Decimal | None:
    return None if basis in _WITHOUT_PRICE else Decimal(nanos).scaleb(-9)


def _text_of(raw: msgspec.Raw) -> str:
    """A body as stored: its JSON text, or nothing for null."""
    data = bytes(raw)
    return "" if data == b"null" else data.decode("utf-8", "replace")

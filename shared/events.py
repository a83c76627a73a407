"""The events: the only thing that crosses topics.

Each is one JSON object per record. Its `type` stands in the object and, with the version, in the record
headers (`event-type`, `event-version`), so that a consumer can route without decoding. Field names are
stable: a new meaning is a new field, unknown fields are ignored.

Times are Unix milliseconds in UTC; money is integer nano-dollars; sizes are bytes.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

EVENT_VERSION: Final = 1
ANONYMOUS_KEY_ID: Final = "anonymous"

Outcome = Literal["success", "error", "cancelled", "abandoned"]
"""How a request ended. `cancelled`: the client left. `abandoned`: its gateway died and budget settled it."""

CostBasis = Literal["provider", "priced", "estimated", "reserved", "unpriced", "none"]
"""Where a cost comes from. `provider`: reported by the provider. `priced`: usage x price book.
`estimated`: usage was estimated, then priced. `reserved`: the reservation of an abandoned request.
`unpriced`: nobody knows the price; the cost is unknown, not zero. `none`: nothing was bought (refused, failed)."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base of all events."""


class Charge(msgspec.Struct, frozen=True, array_like=True):
    """One counter bucket that a request is charged to; fixed at admission, so that the fold needs no clock.

    `bucket_ms` is the start of the bucket (0 for a lifetime counter); the bucket may be forgotten after
    `until_ms` (0: never).
    """

    budget_id: str
    bucket_ms: int
    until_ms: int


class Tokens(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token and unit counts of one request. `prompt` includes the cached reads, the cache writes, `prompt_audio` and
    `prompt_image`; `completion` includes `reasoning`, `completion_audio` and `completion_image`."""

    prompt: int = 0
    completion: int = 0
    cached_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    """Of `cache_write` those kept for an hour instead of five minutes."""
    reasoning: int = 0
    prompt_audio: int = 0
    completion_audio: int = 0
    completion_image: int = 0
    """0 with `images`: not counted apart."""
    images: int = 0
    characters: int = 0
    """Input characters, for speech priced by length."""
    audio_ms: int = 0
    """Length of audio in milliseconds, for transcription priced by duration."""
    searches: int = 0
    """Searches of the web that the provider made for the answer."""
    search_units: int = 0
    """Units of a ranking, for rankings priced by request: a large one counts as several. 0: the request is one."""
    prompt_image: int = 0


class RequestStarted(Event, frozen=True, kw_only=True, tag="request.started"):
    """Published at admission, before the provider is called. Topic `finops.usage`, key: virtual key id."""

    request_id: str
    at_ms: int
    deadline_ms: int
    """After this time without an end the budget service settles the request as abandoned."""
    gateway_id: str
    virtual_key_id: str
    virtual_key_name: str = ""
    endpoint: str
    provider: str
    model: str
    stream: bool = False
    end_user: str = ""
    reserved_nanos: int = 0
    charges: tuple[Charge, ...] = ()


class UsageRecorded(Event, frozen=True, kw_only=True, tag="usage.recorded"):
    """The end of a request that was started. Topic `finops.usage`, key: virtual key id.

    `reserved_nanos` is what its `RequestStarted` reserved and this event releases; `cost_nanos` is what it settles.
    `started_at_ms` decides the budget window, so a request is charged to the window it began in.
    """

    request_id: str
    started_at_ms: int
    at_ms: int
    gateway_id: str
    virtual_key_id: str
    virtual_key_name: str = ""
    endpoint: str
    provider: str
    model: str
    stream: bool = False
    end_user: str = ""
    outcome: Outcome
    http_status: int
    error_code: str = ""
    tokens: Tokens = Tokens()
    cost_nanos: int = 0
    cost_basis: CostBasis
    price_version: str = ""
    service_tier: str = ""
    """Where the provider served the request at another price than the usual one."""
    image_quality: str = ""
    image_size: str = ""
    """What the pictures in `tokens` are like, as far as anybody said: some prices depend on it."""
    reserved_nanos: int = 0
    charges: tuple[Charge, ...] = ()
    latency_ms: int = 0
    ttft_ms: int | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call to a provider within a request."""

    provider: str
    model: str
    credential: str = ""
    http_status: int = 0
    error_code: str = ""
    error_message: str = ""
    started_ms: int = 0
    """Milliseconds after the request started."""
    duration_ms: int = 0
    dropped: tuple[str, ...] = ()
    """Parameters of the client that were left out or replaced, because this provider would have refused them."""


class RequestLogged(Event, frozen=True, kw_only=True, tag="request.logged"):
    """The whole exchange, for the logs view. Topic `finops.requests`, key: request id.

    Every request that reached `/v1` and authenticated as somebody (anonymous included) has exactly one,
    refused ones too, except when its gateway was killed before it ended.

    `request` and `response` are any JSON value: the body itself where it is JSON and fits, else a string
    (cut at the configured limit). For a stream, `response` is the SSE transcript as a string and
    `response_kind` is "sse". `request_bytes` and `response_bytes` are the sizes before any cut.
    """

    request_id: str
    started_at_ms: int
    ended_at_ms: int
    gateway_id: str
    virtual_key_id: str
    virtual_key_name: str = ""
    endpoint: str
    provider: str = ""
    model: str = ""
    requested_model: str = ""
    stream: bool = False
    end_user: str = ""
    chat_id: str = ""
    task: str = ""
    """Background task of a chat client (title, tags, follow_ups, ...); empty for a person's own message."""
    client: str = ""
    """User-Agent of the caller."""
    outcome: Outcome
    http_status: int
    """What the client was answered: 200 for a stream that failed after it had begun, whose error is told by the
    others here. 499 where the client left."""
    error_code: str = ""
    error_message: str = ""
    finish_reason: str = ""
    tokens: Tokens = Tokens()
    cost_nanos: int = 0
    cost_basis: CostBasis
    price_version: str = ""
    service_tier: str = ""
    """Where the provider served the request at another price than the usual one."""
    image_quality: str = ""
    image_size: str = ""
    """What the pictures in `tokens` are like, as far as anybody said: some prices depend on it."""
    latency_ms: int = 0
    ttft_ms: int | None = None
    attempts: tuple[Attempt, ...] = ()
    request: msgspec.Raw = msgspec.Raw(b"null")
    request_bytes: int = 0
    response: msgspec.Raw = msgspec.Raw(b"null")
    response_kind: Literal["json", "sse", "text", "binary", "none"] = "none"
    response_bytes: int = 0


class GovernanceChanged(Event, frozen=True, kw_only=True, tag="governance.changed"):
    """One accepted-or-ignored change of one entity. Topic `finops.governance`, key: entity id.

    `version` must be the entity's current version + 1, else the fold ignores the change: the log's order decides.
    `value` is the entity's whole new state as JSON (see `shared/governance/model.py`), or null when it is deleted.
    """

    change_id: str
    entity: Literal["virtual_key", "team", "customer", "provider", "route", "price"]
    entity_id: str
    version: int
    at_ms: int
    actor: str
    action: str
    """What was done, for the audit trail: create, update, rotate, revoke, apply, delete."""
    value: msgspec.Raw = msgspec.Raw(b"null")


class Bucket(msgspec.Struct, array_like=True):
    """Spend of one counter in one bucket. Mutable: it lives inside the fold."""

    bucket_ms: int
    until_ms: int
    settled_nanos: int = 0
    reserved_nanos: int = 0
    requests: int = 0
    """Requests settled."""
    tokens: int = 0
    unpriced: int = 0
    """Requests settled without a known price."""


class CounterPublished(Event, frozen=True, kw_only=True, tag="spend.counter"):
    """The state of one budget's counter as far as one usage partition knows it.

    Topic `finops.spend` (compacted), partition = usage partition, key: `counter/{budget_id}`. State and input
    offset travel in one record: an input event at or below `through_offset` is already inside.
    """

    budget_id: str
    partition: int
    epoch: int
    through_offset: int
    buckets: tuple[Bucket, ...] = ()


class ProducerMark(msgspec.Struct, frozen=True, array_like=True):
    """The last sequence number folded from one producer incarnation, and the partition's event time then."""

    seq: int
    at_ms: int


class PartitionProgress(Event, frozen=True, kw_only=True, tag="spend.progress"):
    """How far one usage partition has been folded; also the owner's heartbeat, at least once a second.

    Topic `finops.spend` (compacted), partition = usage partition, key: `progress`. It follows the counters
    it covers. `open_offsets` are the offsets of the `RequestStarted` records still without an end: a new owner
    re-reads exactly those. `producers` tells every gateway which of its own records are inside the counters.
    """

    partition: int
    epoch: int
    through_offset: int
    at_ms: int
    """Up to this time nothing is missing: now, or while the owner is behind, the time of the newest event folded."""
    event_time_ms: int
    """The largest event time folded, as far as it was not ahead of the owner's clock."""
    open_offsets: tuple[int, ...] = ()
    producers: Mapping[str, ProducerMark] = {}


class RequestAbandoned(Event, frozen=True, kw_only=True, tag="spend.abandoned"):
    """A request that budget settled for its dead gateway; kept so that a late true end corrects it, not adds to it.

    Topic `finops.spend` (compacted), key: `abandoned/{request_id}`; removed by a tombstone after its keep time.
    """

    request_id: str
    cost_nanos: int
    at_ms: int
    through_offset: int


AnyEvent = (
    RequestStarted
    | UsageRecorded
    | RequestLogged
    | GovernanceChanged
    | CounterPublished
    | PartitionProgress
    | RequestAbandoned
)

_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_encoder = msgspec.json.Encoder()


def encode(event: AnyEvent) -> bytes:
    """The JSON value of a record."""
    return _encoder.encode(event)


def decode(value: bytes) -> AnyEvent:
    """The event in a record's value. Raises `msgspec.DecodeError` (or its child ValidationError) on anything else."""
    return _decoder.decode(value)


def event_type(event: AnyEvent) -> str:
    """The `type` tag of an event, as it stands in its JSON and in the `event-type` header."""
    return str(type(event).__struct_config__.tag)

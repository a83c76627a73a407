"""Builders of logged requests and of the records that carry them."""

import json
import time
from typing import Any

import msgspec

from shared.eventlog.port import HEADER_TYPE, Record
from shared.events import AnyEvent, RequestLogged, Tokens, UsageRecorded, encode, event_type
from shared.ids import new_id
from shared.topics import REQUESTS

T0_MS = time.time_ns() // 1_000_000 - 3_600_000
"""An hour ago: bodies of long ago would have expired."""


def raw(value: Any) -> msgspec.Raw:
    """Any value as the JSON that an event carries."""
    return msgspec.Raw(json.dumps(value).encode())


def request_logged(number: int = 0, **overrides: Any) -> RequestLogged:
    """A successful chat request; each `number` is a second later than the one before."""
    started = overrides.pop("started_at_ms", T0_MS + number * 1000)
    values: dict[str, Any] = {
        "request_id": new_id("req", started),
        "started_at_ms": started,
        "ended_at_ms": started + 840,
        "gateway_id": "gateway-1",
        "virtual_key_id": "vk_1",
        "virtual_key_name": "team-a",
        "endpoint": "chat.completions",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "requested_model": "openai/gpt-4o-mini",
        "outcome": "success",
        "http_status": 200,
        "tokens": Tokens(prompt=12, completion=5),
        "cost_nanos": 4_800,
        "cost_basis": "priced",
        "latency_ms": 840,
        "request": raw({"messages": [{"role": "user", "content": f"question number{number}"}]}),
        "response": raw(
            {"choices": [{"message": {"role": "assistant", "content": "an answer"}, "finish_reason": "stop"}]}
        ),
        "response_kind": "json",
    }
    return RequestLogged(**(values | overrides))


def abandoned(logged: RequestLogged, **overrides: Any) -> UsageRecorded:
    """What budget records when the gateway that served `logged` died before it could say so."""
    values: dict[str, Any] = {
        "request_id": logged.request_id,
        "started_at_ms": logged.started_at_ms,
        "at_ms": logged.started_at_ms + 960_000,
        "gateway_id": logged.gateway_id,
        "virtual_key_id": logged.virtual_key_id,
        "endpoint": logged.endpoint,
        "provider": logged.provider,
        "model": logged.model,
        "outcome": "abandoned",
        "http_status": 0,
        "cost_nanos": 77_000,
        "cost_basis": "reserved",
    }
    return UsageRecorded(**(values | overrides))


def record_of(event: AnyEvent | bytes, offset: int = 0, topic: str = REQUESTS, partition: int = 0) -> Record:
    """The record as a consumer reads it; bytes stand for a value that may be no event."""
    value = event if isinstance(event, bytes) else encode(event)
    headers = {} if isinstance(event, bytes) else {HEADER_TYPE: event_type(event)}
    key = getattr(event, "request_id", "key")
    return Record(topic, partition, offset, key, value, headers, T0_MS)

"""Small and large events for tests of the outbox."""

import msgspec

from shared.events import AnyEvent, RequestLogged, RequestStarted
from shared.topics import REQUESTS, USAGE


def started(number: int) -> tuple[str, str, AnyEvent]:
    event = RequestStarted(
        request_id=f"req_{number}",
        at_ms=1_700_000_000_000 + number,
        deadline_ms=0,
        gateway_id="gw",
        virtual_key_id=f"vk_{number % 5}",
        endpoint="/v1/chat/completions",
        provider="demo",
        model="echo",
    )
    return USAGE, event.virtual_key_id, event


def logged(number: int, body_bytes: int = 2_500) -> tuple[str, str, AnyEvent]:
    event = RequestLogged(
        request_id=f"req_{number}",
        started_at_ms=1_700_000_000_000 + number,
        ended_at_ms=1_700_000_000_000 + number,
        gateway_id="gw",
        virtual_key_id=f"vk_{number % 5}",
        endpoint="/v1/chat/completions",
        outcome="success",
        http_status=200,
        cost_basis="priced",
        request=msgspec.Raw(b'"' + b"x" * body_bytes + b'"'),
    )
    return REQUESTS, event.request_id, event

"""A dead letter holds its record whole, whatever its topic."""

import base64

import msgspec

from shared.eventlog.dead_letters import DeadLetter, undelivered, unhandled
from shared.eventlog.port import NewRecord, Record
from shared.eventlog.record_size import record_bytes
from shared.topics import DAY_MS, DEAD_LETTERS, REQUESTS, topic_specs

SPECS = topic_specs(4, usage_retention_ms=DAY_MS, requests_retention_ms=DAY_MS)


def test_the_largest_record_of_any_topic_fits_whole() -> None:
    value = bytes(range(256)) * (SPECS[REQUESTS].max_record_bytes // 256)
    record = Record(REQUESTS, 3, 17, "req_1", value, {"event-type": "request.logged"}, 5)

    letter = unhandled(record, "no event", service="log_ingest", at_ms=9)

    assert record_bytes(letter) <= SPECS[DEAD_LETTERS].max_record_bytes
    kept = msgspec.json.decode(letter.value or b"", type=DeadLetter)
    assert base64.b64decode(kept.value) == value
    assert (kept.topic, kept.partition, kept.offset, kept.reason) == (REQUESTS, 3, 17, "no event")


def test_a_letter_sent_twice_has_one_key() -> None:
    record = Record(REQUESTS, 3, 17, "req_1", b"{", {}, 5)

    first, again = (unhandled(record, "no event", service="budget", at_ms=at) for at in (1, 2))

    assert first.key == again.key == f"{REQUESTS}:3:17"


def test_a_record_that_never_got_an_offset_keeps_its_identity() -> None:
    record = NewRecord(REQUESTS, 3, "req_1", b"x", {"producer": "out_1", "seq": "7"})

    letter = undelivered(record, "too large", service="gateway", position="out_1/7", at_ms=1)

    kept = msgspec.json.decode(letter.value or b"", type=DeadLetter)
    assert (kept.offset, kept.headers["seq"], letter.key) == (-1, "7", f"{REQUESTS}:3:out_1/7")

"""The proof: four witnesses of the same traffic are compared, and every disagreement is named.

The witnesses are the clients (what they saw), the mock upstream (what it served), the event log (read raw) and the
product's own books (ClickHouse through `/api/logs`, spend through `/api/virtual-keys`). What a finished request costs
is computed here from the upstream's counts in exact fractions; only for a request cut short is the logged estimate
taken, and then its arithmetic is checked against the tokens it names.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from tests.support.evidence import Evidence
from tests.support.load import Fate, Seen

NANO: Final = 1_000_000_000
MILLION: Final = 1_000_000
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, as the operator wrote it."""

    input_per_million: str
    output_per_million: str

    def nanos(self, prompt: int, completion: int) -> int:
        """The cost in whole nano-dollars, rounded half up once, on the total."""
        dollars = (
            Fraction(self.input_per_million) * prompt + Fraction(self.output_per_million) * completion
        ) / MILLION
        return int(dollars * NANO + Fraction(1, 2))


@dataclass(slots=True)
class Served:
    """What the upstream says it did for one marker."""

    calls: int = 0
    finished: int = 0
    """Calls answered to the end with a success."""
    prompt: int = 0
    completion: int = 0


@dataclass(frozen=True, slots=True)
class Books:
    seen: Sequence[Seen]
    served: Mapping[str, Served]
    evidence: Evidence
    rows: Sequence[Json]
    keys: Mapping[str, Json]
    """The virtual keys as the API shows them, by id."""
    price: Price


@dataclass(slots=True)
class Audit:
    """`problems` is empty when all witnesses agree to the nano-dollar."""

    sent: int = 0
    logged: int = 0
    rows: int = 0
    settled_nanos: int = 0
    truth_nanos: int = 0
    abandoned: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    bases: Counter[str] = field(default_factory=Counter)
    replays: int = 0
    unheard: Counter[Fate] = field(default_factory=Counter)
    """Requests that no gateway ever accepted, by their fate: the client was gone or cut off before one had read it."""
    problems: list[str] = field(default_factory=list)


def audit(books: Books) -> Audit:
    evidence = books.evidence
    final = {request_id: evidence.final(request_id) for request_id in evidence.finished()}
    known = evidence.logged | {
        request_id: end for request_id, end in final.items() if request_id not in evidence.logged
    }
    heard = Counter(event["end_user"] for event in known.values())
    result = Audit(
        sent=sum(heard[seen.marker] for seen in books.seen),
        logged=len(evidence.logged),
        rows=len(books.rows),
        settled_nanos=sum(_settled(key) for key in books.keys.values()),
        abandoned=sum(end["outcome"] == "abandoned" for end in final.values()),
        outcomes=Counter(event["outcome"] for event in known.values()),
        bases=Counter(event["cost_basis"] for event in known.values()),
        replays=evidence.replays,
        unheard=Counter(seen.fate for seen in books.seen if heard[seen.marker] == 0),
    )
    truths = {request_id: true_cost(books, end) for request_id, end in final.items()}
    result.truth_nanos = sum(truths.values())
    for check in (_log_is_whole, _every_marker_once, _clients_agree, _upstream_agrees, _rows_agree):
        result.problems += check(books)
    result.problems += _costs_agree(books, truths)
    result.problems += _spend_agrees(books, truths)
    return result


def true_cost(books: Books, end: Json) -> int:
    """What a request cost, from the upstream's counts where it was served to its end."""
    if end["cost_basis"] == "priced":
        served = books.served.get(end["end_user"], Served())
        return books.price.nanos(served.prompt, served.completion)
    if end["cost_basis"] == "reserved":
        return int(books.evidence.started[end["request_id"]].get("reserved_nanos", 0))
    if end["cost_basis"] == "estimated":
        tokens = end.get("tokens", {})
        return books.price.nanos(tokens.get("prompt", 0), tokens.get("completion", 0))
    return 0


def _log_is_whole(books: Books) -> Iterator[str]:
    """Every start has an end, every end a start and, unless abandoned, a logged exchange that says the same."""
    evidence = books.evidence
    yield from (f"twice on the log: {what}" for what in evidence.twice)
    yield from (f"{request_id} was started and never ended" for request_id in sorted(evidence.open))
    for request_id in sorted(evidence.finished() - evidence.started.keys()):
        yield f"{request_id} ended without a start"
    for request_id, end in evidence.ended.items():
        logged = evidence.logged.get(request_id)
        if logged is None:
            yield f"{request_id} ended but is not in the logged requests"
            continue
        for name in ("outcome", "cost_nanos", "cost_basis", "virtual_key_id", "tokens", "http_status"):
            if end.get(name) != logged.get(name):
                yield f"{request_id}: {name} is {end.get(name)!r} in usage but {logged.get(name)!r} in the log"
        if end.get("charges") != evidence.started[request_id].get("charges"):
            yield f"{request_id} was settled against other counters than it was admitted to"
        if end.get("reserved_nanos", 0) != evidence.started[request_id].get("reserved_nanos", 0):
            yield f"{request_id} releases another sum than it reserved"


def _every_marker_once(books: Books) -> Iterator[str]:
    """One request of a client is one request of the gateways: none doubled on the way, none from nowhere."""
    evidence = books.evidence
    markers = {
        request_id: event["end_user"] for request_id, event in (evidence.started | evidence.logged).items()
    }
    counted = Counter(markers.values())
    sent = {seen.marker for seen in books.seen}
    yield from (f"{marker} became {times} requests" for marker, times in counted.items() if times > 1)
    yield from (f"{marker} was never sent" for marker in counted.keys() - sent)


def _clients_agree(books: Books) -> Iterator[str]:
    """A client that got an answer finds its request in the log, with the outcome it saw."""
    evidence = books.evidence
    for seen in books.seen:
        if not seen.request_id:
            continue
        event = evidence.logged.get(seen.request_id) or evidence.abandoned.get(seen.request_id)
        if event is None:
            yield f"{seen.marker} was answered as {seen.request_id}, which nobody logged"
        elif event["end_user"] != seen.marker:
            yield f"{seen.request_id} was answered to {seen.marker} but logged for {event['end_user']}"
        elif seen.complete and seen.status == 200 and event["outcome"] not in ("success", "abandoned"):
            yield f"{seen.marker} got its whole answer but is logged as {event['outcome']}"
        elif seen.status is not None and seen.status >= 400 and event["http_status"] != seen.status:
            yield f"{seen.marker} was refused with {seen.status} but is logged with {event['http_status']}"


def _upstream_agrees(books: Books) -> Iterator[str]:
    """Whatever the upstream was asked for had been announced on the log first."""
    announced = {event["end_user"] for event in books.evidence.started.values()}
    yield from (
        f"{marker} was served upstream but never started" for marker in books.served.keys() - announced
    )
    for marker, served in books.served.items():
        if served.finished > 1:
            yield f"{marker} was bought {served.finished} times upstream"


def _rows_agree(books: Books) -> Iterator[str]:
    """ClickHouse has one row per request, and each says what the log says."""
    evidence = books.evidence
    expected = evidence.logged.keys() | evidence.finished()
    counted = Counter(row["request_id"] for row in books.rows)
    yield from (f"{request_id} has {times} rows" for request_id, times in counted.items() if times > 1)
    yield from (f"{request_id} has no row" for request_id in sorted(expected - counted.keys()))
    yield from (
        f"{request_id} has a row but is on no topic" for request_id in sorted(counted.keys() - expected)
    )
    for row in books.rows:
        event = evidence.logged.get(row["request_id"]) or evidence.abandoned.get(row["request_id"])
        if event is None:
            continue
        if row["status"] != event["outcome"]:
            yield f"{row['request_id']} is {row['status']} in its row but {event['outcome']} on the log"
        if nanos(row["cost"]) != event.get("cost_nanos", 0):
            yield f"{row['request_id']} costs {row['cost']} in its row but {event.get('cost_nanos', 0)} nanos on the log"
        if row["end_user"] != event["end_user"] or row["virtual_key_id"] != event["virtual_key_id"]:
            yield f"{row['request_id']} has a row for somebody else"


def _costs_agree(books: Books, truths: Mapping[str, int]) -> Iterator[str]:
    """Each settled cost is the true one, and its basis fits what happened upstream."""
    for request_id, truth in truths.items():
        end = books.evidence.final(request_id)
        basis, served = end["cost_basis"], books.served.get(end["end_user"], Served())
        if end.get("cost_nanos", 0) != truth:
            yield f"{request_id} settled {end.get('cost_nanos', 0)} nanos ({basis}), true is {truth}"
        if end["outcome"] == "success" and basis != "priced":
            yield f"{request_id} succeeded with a cost that is {basis}"
        if basis == "priced" and not served.finished:
            yield f"{request_id} is billed as a whole answer that the upstream never gave"
        if basis == "none" and served.finished:
            yield f"{request_id} is free although the upstream served it to its end"
        if basis not in ("priced", "estimated", "reserved", "none"):
            yield f"{request_id} has the cost basis {basis}"


def _spend_agrees(books: Books, truths: Mapping[str, int]) -> Iterator[str]:
    """Every budget of every key has settled exactly its requests' true costs, and holds nothing back."""
    totals: Counter[str] = Counter()
    for request_id, truth in truths.items():
        totals[books.evidence.final(request_id)["virtual_key_id"]] += truth
    for key_id, key in books.keys.items():
        for budget in key["budgets"]:
            if nanos(budget["settled"]) != totals[key_id]:
                yield f"{key['name']} ({budget['window']}) settled {nanos(budget['settled'])}, true is {totals[key_id]}"
            if nanos(budget["reserved"]) != 0:
                yield f"{key['name']} ({budget['window']}) still reserves {budget['reserved']}"
    yield from (f"{key_id} spent but is not one of the keys" for key_id in totals.keys() - books.keys.keys())


def _settled(key: Json) -> int:
    return nanos(key["budgets"][0]["settled"])


def nanos(dollars: str | None) -> int:
    """A decimal string in USD as nano-dollars; an unknown cost (None) is 0 here and 0 on the log."""
    amount = Decimal(dollars or "0") * NANO
    if amount != int(amount):
        raise AssertionError(f"{dollars} is finer than a nano-dollar")
    return int(amount)

"""The secret of a key's user tokens in the admin API: given, changed, taken away, and never shown."""

import json

import httpx
import msgspec
import pytest

from shared.eventlog.port import EventLog
from shared.events import GovernanceChanged, decode
from shared.governance.model import UserJwtSecret, VirtualKey
from shared.security import SealError, unseal
from shared.topics import GOVERNANCE
from shared.user_jwt import sealing_context
from tests.support.budget_api import created, error_of

KEY = b"k" * 32
SECRET = "signed-by-open-webui-with-this-secret"
OTHER = "and-then-with-another-one-of-that-kind"


async def kept(log: EventLog, key_id: str) -> list[UserJwtSecret | None]:
    """What stands in the log of the key's secret, change after change."""
    found = []
    for partition, end in (await log.end_offsets(GOVERNANCE)).items():
        async for batch in log.read(GOVERNANCE, partition, 0, end):
            for record in batch:
                event = decode(record.value) if record.value is not None else None
                if isinstance(event, GovernanceChanged) and event.entity_id == key_id:
                    found.append(msgspec.json.decode(event.value, type=VirtualKey).user_jwt)
    return found


async def test_a_secret_is_given_changed_and_taken_away_but_never_shown(
    api: httpx.AsyncClient, log: EventLog
) -> None:
    answers = [await api.post("/api/virtual-keys", json={"name": "a", "user_jwt_secret": SECRET})]
    key_id = answers[0].json()["id"]
    path = f"/api/virtual-keys/{key_id}"
    for change in ({"name": "b"}, {"user_jwt_secret": OTHER}, {"user_jwt_secret": None}):
        answers += [
            await api.patch(path, json=change),
            await api.get(path),
            await api.get("/api/virtual-keys"),
        ]
    answers.append(await api.post(f"{path}/rotate", json={}))
    answers += [await api.get("/"), await api.get("/metrics")]

    assert [answer.json()["has_user_jwt_secret"] for answer in answers[1:9:3]] == [True, True, False]
    assert answers[0].json()["has_user_jwt_secret"] is True
    first, renamed, second, removed, _ = secrets = await kept(log, key_id)
    assert first is not None and second is not None and removed is None
    assert renamed == first
    assert unseal(first.sealed, KEY, sealing_context(key_id)) == SECRET
    assert unseal(second.sealed, KEY, sealing_context(key_id)) == OTHER
    hidden = {SECRET, OTHER, first.sealed, second.sealed}
    assert [answer.text for answer in answers if any(text in answer.text for text in hidden)] == []
    assert SECRET not in str(secrets)


async def test_a_rotated_key_keeps_it_and_no_other_key_can_open_it(
    api: httpx.AsyncClient, log: EventLog
) -> None:
    key, other = await created(api, user_jwt_secret=SECRET), await created(api, name="b")
    rotated = await api.post(f"/api/virtual-keys/{key['id']}/rotate", json={})

    assert rotated.json()["has_user_jwt_secret"] is True
    assert other["has_user_jwt_secret"] is False
    secret = (await kept(log, key["id"]))[-1]
    assert secret is not None
    with pytest.raises(SealError):
        unseal(secret.sealed, KEY, sealing_context(other["id"]))


@pytest.mark.parametrize(
    "secret",
    [
        "geheim",
        "",
        "geheim-" * 200,
        "geheim\n" * 6,
        " " + "geheim-" * 6,
        "geheim\ud800" * 6,
        5,
        ["geheim-" * 6],
    ],
)
async def test_what_cannot_be_a_secret_is_refused_and_not_repeated(
    api: httpx.AsyncClient, secret: object
) -> None:
    key = await created(api)
    body = json.dumps({"name": "a", "user_jwt_secret": secret}).encode()
    headers = {"content-type": "application/json"}
    made = await api.post("/api/virtual-keys", content=body, headers=headers)
    changed = await api.patch(f"/api/virtual-keys/{key['id']}", content=body, headers=headers)

    for answer in (made, changed):
        assert error_of(answer) == (400, "invalid_value", "user_jwt_secret")
        assert "geheim" not in answer.text

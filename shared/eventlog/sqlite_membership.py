"""Consumer groups of the SQLite log: who is a member, who owns which partition, and until when.

Functions on a connection; each runs inside one write transaction of `SqliteWriter`, so all members see the same
order of changes. A partition belongs to nobody or to one living member. Its next owner gets it only after the
row of the old one is gone: released by the old one itself after its work, or removed with an expired session.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from shared.errors import Fenced
from shared.eventlog import sqlite_store
from shared.eventlog.assignment import assign
from shared.eventlog.port import Offsets, TopicPartition
from shared.eventlog.sqlite_store import Catalogue


@dataclass(frozen=True, slots=True)
class Member:
    """One member as it presents itself. `instance` is the lock file name of its process's log."""

    group: str
    name: str
    topics: tuple[str, ...]
    instance: str
    session_ms: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a member stands after `attend`."""

    owned: frozenset[TopicPartition]
    surplus: frozenset[TopicPartition]
    """Owned, but another's by right: to be released after the work on them is done."""
    rejoined: bool
    """The session had expired (or never begun): whatever the member thought it owned was lost before this."""
    generation: int


def attend(
    connection: sqlite3.Connection,
    catalogue: Catalogue,
    member: Member,
    now_ms: int,
    instance_is_alive: Callable[[str], bool],
) -> Standing:
    """Renew the session, remove dead members, and take what is free and due to this member."""
    changed = _reap(connection, member, now_ms, instance_is_alive)
    topics = msgspec.json.encode(member.topics).decode()
    updated = connection.execute(
        "UPDATE members SET expires_ms = ?, topics = ? WHERE group_name = ? AND member = ? AND instance = ?",
        (now_ms + member.session_ms, topics, member.group, member.name, member.instance),
    ).rowcount
    rejoined = updated == 0
    if rejoined:
        connection.execute(
            "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?)",
            (member.group, member.name, topics, member.instance, now_ms + member.session_ms),
        )
        connection.execute(
            "DELETE FROM owners WHERE group_name = ? AND member = ?", (member.group, member.name)
        )
        changed = True
    owned, surplus, taken = _take(connection, catalogue, member)
    if changed or taken:
        _bump(connection, member.group)
    generation = connection.execute(
        "SELECT generation FROM groups WHERE name = ?", (member.group,)
    ).fetchone()[0]
    return Standing(owned, surplus, rejoined, generation)


def _reap(
    connection: sqlite3.Connection, member: Member, now_ms: int, instance_is_alive: Callable[[str], bool]
) -> bool:
    """Remove the others that are gone. Never itself: late or not, what nobody took is still its own."""
    rows = connection.execute(
        "SELECT member, instance, expires_ms FROM members WHERE group_name = ?", (member.group,)
    ).fetchall()
    dead = [
        name
        for name, instance, expires_ms in rows
        if name != member.name
        and (expires_ms < now_ms or (instance != member.instance and not instance_is_alive(instance)))
    ]
    for name in dead:
        leave(connection, member.group, name)
    return bool(dead)


def _take(
    connection: sqlite3.Connection, catalogue: Catalogue, member: Member
) -> tuple[frozenset[TopicPartition], frozenset[TopicPartition], bool]:
    members = {
        name: msgspec.json.decode(topics, type=list[str])
        for name, topics in connection.execute(
            "SELECT member, topics FROM members WHERE group_name = ?", (member.group,)
        )
    }
    counts: dict[str, int] = {}
    for topic, _ in catalogue.ids:
        counts[topic] = counts.get(topic, 0) + 1
    due = assign(members, counts)[member.name]
    owners = {
        catalogue.names[number]: name
        for number, name in connection.execute(
            "SELECT partition_id, member FROM owners WHERE group_name = ?", (member.group,)
        )
    }
    mine = frozenset(partition for partition, name in owners.items() if name == member.name)
    free = due - owners.keys()
    connection.executemany(
        "INSERT INTO owners VALUES (?, ?, ?)",
        [(member.group, catalogue.ids[partition], member.name) for partition in sorted(free)],
    )
    return mine | free, mine - due, bool(free)


def _bump(connection: sqlite3.Connection, group: str) -> None:
    connection.execute(
        "INSERT INTO groups VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET generation = generation + 1",
        (group,),
    )


def beat(
    connection: sqlite3.Connection, member: Member, now_ms: int, instance_is_alive: Callable[[str], bool]
) -> bool:
    """Prolong the session and remove dead members. False: this session has expired and somebody removed it."""
    _reap(connection, member, now_ms, instance_is_alive)
    updated = connection.execute(
        "UPDATE members SET expires_ms = ? WHERE group_name = ? AND member = ? AND instance = ?",
        (now_ms + member.session_ms, member.group, member.name, member.instance),
    ).rowcount
    return updated == 1


def release(
    connection: sqlite3.Connection, catalogue: Catalogue, member: Member, partitions: Sequence[TopicPartition]
) -> None:
    """Give partitions up for their next owner."""
    connection.executemany(
        "DELETE FROM owners WHERE group_name = ? AND partition_id = ? AND member = ?",
        [(member.group, catalogue.ids[partition], member.name) for partition in partitions],
    )
    _bump(connection, member.group)


def leave(connection: sqlite3.Connection, group: str, name: str) -> None:
    """Remove a member and all that it owns."""
    connection.execute("DELETE FROM owners WHERE group_name = ? AND member = ?", (group, name))
    connection.execute("DELETE FROM members WHERE group_name = ? AND member = ?", (group, name))
    _bump(connection, group)


def commit(connection: sqlite3.Connection, catalogue: Catalogue, member: Member, offsets: Offsets) -> None:
    """Store offsets. Raises Fenced, before any write, when one of the partitions has another owner or none."""
    for partition in offsets:
        row = connection.execute(
            "SELECT owners.member FROM owners JOIN members USING (group_name, member) "
            "WHERE group_name = ? AND partition_id = ? AND instance = ?",
            (member.group, catalogue.ids[partition], member.instance),
        ).fetchone()
        if row is None or row[0] != member.name:
            topic, number = partition
            raise Fenced(f"{topic}:{number} is not owned by {member.name} any more.")
    connection.executemany(
        "INSERT OR REPLACE INTO commits VALUES (?, ?, ?)",
        [(member.group, catalogue.ids[partition], offset) for partition, offset in offsets.items()],
    )


def positions(
    connection: sqlite3.Connection, catalogue: Catalogue, group: str, partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """Where to begin: the committed offset, or 0."""
    return {
        partition: sqlite_store.committed(connection, group, catalogue.ids[partition]) or 0
        for partition in partitions
    }

"""The range rule: complete, disjoint, even, and the same whoever computes it."""

from hypothesis import given
from hypothesis import strategies as st

from shared.eventlog.assignment import assign

TOPICS = {"a": 12, "b": 12, "c": 1}
MEMBERS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4),
    st.lists(st.sampled_from(sorted(TOPICS)), unique=True, min_size=1),
    min_size=1,
    max_size=8,
)


@given(MEMBERS)
def test_every_partition_that_is_read_has_exactly_one_owner(members: dict[str, list[str]]) -> None:
    owned = [partition for theirs in assign(members, TOPICS).values() for partition in theirs]

    read = {topic for topics in members.values() for topic in topics}
    assert sorted(owned) == sorted((topic, n) for topic in read for n in range(TOPICS[topic]))


@given(MEMBERS)
def test_members_get_only_their_topics_in_shares_that_differ_by_one_at_most(
    members: dict[str, list[str]],
) -> None:
    assigned = assign(members, TOPICS)

    for topic in TOPICS:
        readers = [member for member, topics in members.items() if topic in topics]
        shares = [sum(1 for name, _ in assigned[member] if name == topic) for member in readers]
        assert not shares or max(shares) - min(shares) <= 1
    assert all(topic in members[member] for member, theirs in assigned.items() for topic, _ in theirs)


@given(MEMBERS)
def test_the_order_in_which_members_are_named_does_not_matter(members: dict[str, list[str]]) -> None:
    assert assign(dict(reversed(members.items())), TOPICS) == assign(members, TOPICS)


def test_members_of_the_same_topics_get_the_same_numbers_of_each() -> None:
    assigned = assign({"x": ["a", "b"], "y": ["b", "a"]}, TOPICS)

    for theirs in assigned.values():
        assert {n for topic, n in theirs if topic == "a"} == {n for topic, n in theirs if topic == "b"}

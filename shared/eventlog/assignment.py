"""Which member of a consumer group owns which partition: the range rule, the same on every member.

Pure. Per topic, the members that read it are sorted by name and get consecutive ranges, the first ones one
partition more when it does not divide evenly. Members of the same topics own the same partition numbers of each.
"""

from collections.abc import Mapping, Sequence

from shared.eventlog.port import TopicPartition


def assign(
    members: Mapping[str, Sequence[str]], partitions: Mapping[str, int]
) -> dict[str, frozenset[TopicPartition]]:
    """Per member, its partitions. `members` maps names to their topics, `partitions` topics to their counts."""
    owned: dict[str, set[TopicPartition]] = {member: set() for member in members}
    for topic in sorted({topic for topics in members.values() for topic in topics}):
        readers = sorted(member for member, topics in members.items() if topic in topics)
        share, extra = divmod(partitions[topic], len(readers))
        first = 0
        for position, member in enumerate(readers):
            count = share + (1 if position < extra else 0)
            owned[member].update((topic, number) for number in range(first, first + count))
            first += count
    return {member: frozenset(theirs) for member, theirs in owned.items()}

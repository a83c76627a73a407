"""Settings that every insert and every query carries, on both backends."""

from typing import Final

INSERT_SETTINGS: Final[dict[str, str | int]] = {
    # Servers since 26.2 default to 1, which acknowledges and splits a bulk insert differently.
    "async_insert": 0,
    "insert_deduplicate": 1,
    # A replay after a long outage may span more days than the default of 100 partitions.
    "max_partitions_per_insert_block": 0,
}

READ_SETTINGS: Final[dict[str, str | int]] = {
    # A request's rows share their day, so FINAL need not compare days with each other.
    "do_not_merge_across_partitions_select_final": 1,
}

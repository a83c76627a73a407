"""How the service is doing, as its endpoints tell it."""

from dataclasses import dataclass


@dataclass(slots=True)
class Health:
    """Written by the supervisor, read by the endpoints."""

    store_ready: bool = False
    """The schema is in place: questions can be answered."""
    consuming: bool = False
    fault: str = ""
    """Why consumption stopped for good; empty while it runs or restarts."""

"""What an examination found."""

from dataclasses import asdict, dataclass
from typing import Final, Literal

State = Literal["ok", "warning", "problem"]
OK: Final = "ok"
WARNING: Final = "warning"
PROBLEM: Final = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `fix` is what to do about it; empty when there is nothing to do."""

    subject: str
    state: State
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

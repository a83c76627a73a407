"""What one module logs, whatever was logged or configured before in the same process."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture


@contextmanager
def log_lines(module: ModuleType) -> Iterator[list[MutableMapping[str, Any]]]:
    """The lines of the module's `log` as they come."""
    capture = LogCapture()
    logger = structlog.wrap_logger(
        None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "log", logger)
        yield capture.entries

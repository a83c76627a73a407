"""Logs and metrics, the same way in every service.

Logs go to standard error, one event a line: coloured text on a terminal, JSON elsewhere. Anything that looks
like a secret is cut before it is written. Metrics live on one registry per service, made by `new_registry`,
so that two services in one process never clash.
"""

import logging
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Final, TextIO

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response
from structlog.typing import FilteringBoundLogger, Processor

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_NOISY_LIBRARIES: Final = ("aiokafka", "uvicorn", "asyncio", "httpx", "httpcore", "clickhouse_connect")
REPEAT_AFTER_S: Final = 30.0
MOST_REMEMBERED: Final = 1_000
_SECRET: Final = re.compile(
    r"(?i)(?:\b|(?<=\\[nrt]))(?:(sk-(?:fo-)?|fo-admin-|xai-|pplx-|csk-|psk-|bearer\s+)[A-Za-z0-9_\-.=+/]{8,}"
    r"|(gsk_|hf_|r8_|AIza|eyJ)[A-Za-z0-9_\-.]{20,})"
    r"|(://[^\s/:@]*:)[^\s/@]+(?=@)"
)
"""Keys by the prefixes that their makers give them, tokens, and the password in a URL; a group keeps what is no secret."""


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger that stamps its lines with `component=name`. Call as `log.info("what_happened", field=value)`."""
    logger: FilteringBoundLogger = structlog.get_logger(component=name)
    return logger


def configure_logging(level: str, *, stream: TextIO | None = None) -> None:
    """Set up logging for this process; called once by whoever starts it. `level` as in `Settings.log_level`."""
    target = _StandardError() if stream is None else stream
    threshold = _LEVELS[level]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        cut_secrets,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if target.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=target),  # type: ignore[arg-type]  # write and flush are enough
        cache_logger_on_first_use=True,
    )
    _join_standard_logging(target, shared, renderer, threshold)


def cut_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: virtual keys, providers' keys of a known form, tokens and passwords in URLs never reach a
    log line, however deep in a value they are."""
    for name, value in event.items():
        event[name] = _without_secrets(value)
    return event


def _without_secrets(value: object) -> object:
    match value:
        case str():
            return _SECRET.sub(lambda found: f"{found[1] or found[2] or found[3]}[cut]", value)
        case dict():
            return {name: _without_secrets(inner) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_without_secrets(inner) for inner in value]
        case None | bool() | int() | float():
            return value
        case _:
            return _without_secrets(repr(value))


def new_registry() -> CollectorRegistry:
    """A fresh metrics registry with this process's CPU, memory and descriptors on it."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def metrics_response(registry: CollectorRegistry) -> Response:
    """The answer of a `/metrics` endpoint, in Prometheus' text format."""
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class FewRepeats(logging.Filter):
    """Lets the same message of a library through once in 30 s: a broker that is away would fill the log."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._last_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, record.getMessage())
        now_s = self._now_s()
        if now_s - self._last_s.get(key, -REPEAT_AFTER_S) < REPEAT_AFTER_S:
            return False
        if len(self._last_s) >= MOST_REMEMBERED:
            self._last_s.clear()
        self._last_s[key] = now_s
        return True


class _StandardError:
    """Whatever `sys.stderr` is at the moment of writing: it may be replaced after loggers were made."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def _join_standard_logging(
    target: "_StandardError | TextIO", shared: list[Processor], renderer: Processor, threshold: int
) -> None:
    """Lines of libraries that use `logging` look like ours; the chatty ones speak from warning up."""
    handler = logging.StreamHandler(target)
    handler.addFilter(FewRepeats())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in _NOISY_LIBRARIES:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))

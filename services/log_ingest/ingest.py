"""The supervisor of consumption: brings the store up, consumes, and starts over after faults."""

import asyncio
from collections.abc import Callable
from typing import Final

from services.log_ingest.consumer import LogConsumer
from services.log_ingest.dead_letters import DeadLetterFlood
from services.log_ingest.health import Health
from services.log_ingest.metrics import IngestMetrics
from services.log_ingest.migrate import apply_retention, migrate
from services.log_ingest.store.port import LogStore, StoreRefused
from shared.errors import ConfigurationError, Retryable, StoreUnavailable
from shared.settings import Settings
from shared.telemetry import get_logger

FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 15.0
WELL_AFTER_S: Final = 60.0


class Ingest:
    """`run` until `stop`. The pages go on being served whatever happens here."""

    def __init__(
        self,
        settings: Settings,
        store: LogStore,
        consumer: LogConsumer,
        health: Health,
        metrics: IngestMetrics,
        monotonic: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._store = store
        self._consumer = consumer
        self._health = health
        self._metrics = metrics
        self._monotonic = monotonic
        self._logger = get_logger("log_ingest")

    async def run(self, stop: asyncio.Event) -> None:
        """Returns when `stop` is set, or when only a person can help (`health.fault` says how)."""
        backoff = FIRST_BACKOFF_S
        while not stop.is_set():
            started = self._monotonic()
            try:
                await self._prepare()
                self._health.consuming = True
                await self._consumer.run(stop)
            except (Retryable, StoreRefused) as error:
                # A refusal too: the schema is looked at anew, and a person may give the right that is missing.
                if isinstance(error, StoreUnavailable | StoreRefused):
                    self._metrics.store_is_up(False)
                self._logger.warning("log_ingest_waits", reason=str(error), wait_s=backoff)
            except (ConfigurationError, DeadLetterFlood) as error:
                self._health.fault = str(error)
                self._logger.error("log_ingest_stopped", reason=str(error))
                return
            except Exception:  # the task's supervisor: logged, counted, tried again, nothing is dropped
                self._logger.exception("log_ingest_failed", wait_s=backoff)
            finally:
                self._health.consuming = False
            if stop.is_set():
                return
            self._metrics.restarted()
            if self._monotonic() - started > WELL_AFTER_S:
                backoff = FIRST_BACKOFF_S
            await _wait(stop, backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF_S)

    async def _prepare(self) -> None:
        await self._store.start()
        applied = await migrate(self._store)
        if applied:
            self._logger.info("schema_migrated", applied=applied)
        await apply_retention(
            self._store,
            bodies_days=self._settings.bodies_retention_days,
            rows_days=self._settings.logs_retention_days,
        )
        self._health.store_ready = True
        self._metrics.store_is_up(True)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return

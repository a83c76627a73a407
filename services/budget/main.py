"""Composition root of the budget service: reads settings, builds the parts, runs them, stops them in reverse order."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from starlette.types import ASGIApp

from services.budget.app import build_app
from services.budget.config_apply import apply_config
from services.budget.consumer import UsageConsumer
from services.budget.desired_state import desired_state
from services.budget.governance_feed import GovernanceFeed
from services.budget.governance_writer import GovernanceWriter
from services.budget.metrics import BudgetMetrics
from services.budget.models import Models
from services.budget.routes.home import TEMPLATES
from services.budget.services import BudgetServices
from services.budget.spend_feed import SpendFeed
from services.budget.supervised import supervised
from services.budget.views import Views
from services.budget.virtual_keys import VirtualKeys, wall_ms
from shared.config_file import config_name, load_config
from shared.errors import ConfigurationError
from shared.eventlog.follower import Follower
from shared.eventlog.open import open_log
from shared.eventlog.port import EventLog
from shared.security import load_secret_key
from shared.server import run_service, serve
from shared.settings import Settings, process_environment
from shared.telemetry import configure_logging, get_logger
from shared.topics import GOVERNANCE, SPEND
from shared.web.pages import Pages
from shared.web.session import AdminAccess

STUCK_AFTER_S: Final = 60.0

_log = get_logger(__name__)


@asynccontextmanager
async def budget_service(
    settings: Settings, log: EventLog, environ: Mapping[str, str] | None = None
) -> AsyncIterator[ASGIApp]:
    """Everything of the service, running, as an ASGI app; `log` has been started. Leaving it hands the partitions over.

    `environ` replaces the process environment (tests). If the usage consumer must stop for good, the body of the
    context is cancelled and its error raised: a budget service that does not count must not look alive.
    Raises ConfigurationError before anything is written.
    """
    environment = process_environment() if environ is None else environ
    desired = desired_state(load_config(settings), environment, config_name(settings))
    secret_key = load_secret_key(settings)
    metrics = BudgetMetrics()
    feed = GovernanceFeed(metrics)
    consumer = UsageConsumer(log, metrics, wall_ms, member=settings.gateway_id)
    spend = SpendFeed(log.partitions(SPEND), metrics, consumer.observe)
    writer = GovernanceWriter(log, feed, wall_ms)
    for warning in desired.warnings:
        _log.warning("configuration_incomplete", reason=warning)

    async with (
        _following(log, GOVERNANCE, feed) as governance_follower,
        _following(log, SPEND, spend) as spend_follower,
    ):
        await apply_config(desired, feed, writer, secret_key, wall_ms())
        services = BudgetServices(
            feed=feed,
            keys=VirtualKeys(feed, writer, wall_ms, secret_key),
            models=Models(feed, wall_ms),
            views=Views(feed, spend.view, environment, wall_ms),
            spend=spend.view,
        )
        followers = (governance_follower, spend_follower)
        access = AdminAccess(settings.admin_token.get_secret_value(), secret_key)
        app = build_app(services, access, metrics, lambda: _missing(consumer, followers), Pages(TEMPLATES))
        async with supervised(consumer.run, consumer.stop, name="usage consumer"):
            yield app


def run(settings: Settings) -> None:
    """The body of `finops budget`: serves until a signal. Raises ConfigurationError before anything is served."""
    if not settings.admin_token.get_secret_value():
        raise ConfigurationError("FINOPS_ADMIN_TOKEN is not set: without it nobody can use the admin API.")
    configure_logging(settings.log_level)

    async def main() -> None:
        log = open_log(settings)
        await log.start()
        try:
            async with budget_service(settings, log) as app:
                await serve(app, settings)
        finally:
            await log.close()

    run_service(main)


@asynccontextmanager
async def _following(log: EventLog, topic: str, feed: GovernanceFeed | SpendFeed) -> AsyncIterator[Follower]:
    follower = Follower(log, topic, feed.apply)
    try:
        await follower.start()
        yield follower
    finally:
        await follower.close()


def _missing(consumer: UsageConsumer, followers: Sequence[Follower]) -> str:
    """What keeps this service from being ready; empty when nothing does. The followers have caught up before."""
    for follower in followers:
        if follower.failure is not None:
            return f"Following the event log failed: {follower.failure}"
    if not consumer.has_joined.is_set():
        return "This service has not joined its consumer group yet."
    silent_s = time.monotonic() - consumer.last_round_at
    if silent_s > STUCK_AFTER_S:
        return f"Spend has not been published for {silent_s:.0f} seconds."
    return ""

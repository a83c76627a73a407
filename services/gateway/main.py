"""The gateway's composition root: the one place here that names concrete classes."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.types import ASGIApp

from services.gateway.admission import Admission
from services.gateway.app import build_app, endpoints_of
from services.gateway.attribution import Attributor, HeaderNames
from services.gateway.auth import Authenticator
from services.gateway.background import supervised
from services.gateway.calling import Caller
from services.gateway.catalogue import Catalogue
from services.gateway.circuits import Circuits
from services.gateway.credentials import Credentials, unsealer
from services.gateway.discovery import ModelDiscovery
from services.gateway.drain import Drain
from services.gateway.fallbacks import Candidates
from services.gateway.followed import governance_applier, spend_applier
from services.gateway.metrics import GatewayMetrics, observe_log
from services.gateway.providers.azure import entra
from services.gateway.providers.bedrock.credentials import AwsCredentials
from services.gateway.providers.bedrock.signing import SigningClient
from services.gateway.providers.demo.client import DemoClient
from services.gateway.providers.fetch import Fetcher
from services.gateway.providers.registry import Channels
from services.gateway.providers.remembering import RememberingClient
from services.gateway.providers.token_client import TokenClient
from services.gateway.providers.vertex import google
from services.gateway.recording import Recorder
from services.gateway.routes.health import Health
from services.gateway.routes.inference import Inference
from services.gateway.routes.models import Models
from services.gateway.upstream.aiohttp_client import AiohttpClient
from services.gateway.upstream.proxies import Proxies
from services.gateway.user_tokens import UserTokens
from shared.eventlog.follower import Follower
from shared.eventlog.open import open_log
from shared.eventlog.outbox import Outbox
from shared.eventlog.port import EventLog
from shared.governance.exposure import Exposure
from shared.governance.reservation import CompletionEstimates
from shared.governance.spend_view import SpendView
from shared.governance.state import GovernanceState
from shared.server import run_service, serve
from shared.settings import Settings, process_environment
from shared.telemetry import configure_logging
from shared.topics import GOVERNANCE, SPEND


@asynccontextmanager
async def gateway_service(settings: Settings, log: EventLog) -> AsyncIterator[ASGIApp]:
    """Everything of one gateway, ready for requests, on a log that was started. Leaving it drains and flushes.

    Raises LogUnavailable when the log cannot be read to its end, ConfigurationError when a setting is wrong.
    """
    metrics = GatewayMetrics()
    state = GovernanceState()
    estimates = CompletionEstimates()
    loop = asyncio.get_running_loop()
    outbox = _outbox(settings, log)
    view = SpendView(outbox.incarnation, log.partitions(SPEND))
    exposure = Exposure()
    unseal = unsealer(settings)
    credentials = Credentials(process_environment(), unseal)
    attributor = Attributor(HeaderNames.of(settings), UserTokens(process_environment(), unseal, metrics))
    recorder = Recorder(
        outbox, view, exposure, estimates, metrics, settings, _gateway_id(settings), loop.time
    )
    admission = Admission(view, exposure, estimates, recorder, metrics, settings.spend_stale_after)
    authenticator = Authenticator(
        state, required=settings.require_virtual_key, trusted_origins=settings.cors_allowed_origins or ()
    )

    async with AsyncExitStack() as stack:
        fetcher = Fetcher()
        stack.push_async_callback(fetcher.close)
        channels = _channels(stack, fetcher)
        discovery = ModelDiscovery(
            state.providers, channels.client_for, channels.adapter_for, credentials, settings, metrics
        )
        governance = Follower(log, GOVERNANCE, governance_applier(state, discovery.wake, metrics))
        spend = Follower(log, SPEND, spend_applier(view, metrics))
        await outbox.start()
        stack.push_async_callback(outbox.close)
        for follower in (governance, spend):
            stack.push_async_callback(follower.close)
            await follower.start()
        await stack.enter_async_context(supervised(discovery.run, "model-discovery"))

        catalogue = Catalogue(state, discovery.lists, channels.adapter_for, settings)
        circuits = Circuits()
        metrics.gauge(
            "open_circuits",
            "Providers and credentials that rest after failures.",
            lambda: circuits.open_count(loop.time()),
        )
        caller = Caller(
            channels.client_for,
            credentials,
            circuits,
            metrics,
            loop.time,
            settings.request_timeout,
            fetcher.fetch,
            admission.check,
        )
        drain = Drain(
            lambda: "" if governance.failure is None and spend.failure is None else "a follower stopped"
        )
        inference = Inference(
            authenticator, attributor, Candidates(catalogue), admission, caller, recorder, metrics, settings
        )
        models = Models(authenticator, catalogue)
        observe_log(metrics, outbox, view)
        endpoints = endpoints_of(inference, models, Health(metrics, drain.not_ready))
        app = build_app(endpoints, models, metrics, settings)
        stack.push_async_callback(drain.close)
        yield drain.counting(app)


def _outbox(settings: Settings, log: EventLog) -> Outbox:
    return Outbox(
        log,
        settings.data_dir / "spool",
        limit_bytes=settings.spool_limit,
        fsync_interval_s=settings.spool_fsync_interval,
    )


def _channels(stack: AsyncExitStack, fetcher: Fetcher) -> Channels:
    """Every wire format over its client; `stack` closes the clients, the network last."""
    network = AiohttpClient(proxies=Proxies(process_environment()))
    azure, vertex = TokenClient(network, entra.fetch_for), TokenClient(network, google.fetch_for)
    aws = SigningClient(network, AwsCredentials())
    huggingface = RememberingClient(network)
    for client in (network, azure, vertex, aws, huggingface):
        stack.push_async_callback(client.close)
    return Channels(
        network=network,
        demo=DemoClient(),
        azure=azure,
        aws=aws,
        vertex=vertex,
        huggingface=huggingface,
        files=fetcher.files,
    )


def run(settings: Settings) -> None:
    """The process of `finops gateway`: until a signal ends it."""
    configure_logging(settings.log_level)
    run_service(lambda: _serve(settings))


async def _serve(settings: Settings) -> None:
    log = open_log(settings)
    await log.start()
    try:
        async with gateway_service(settings, log) as app:
            await serve(app, settings)
    finally:
        await log.close()


def _gateway_id(settings: Settings) -> str:
    return settings.gateway_id or f"{socket.gethostname()}-{os.getpid()}"

"""`finops config check` and `finops doctor`: is everything that FinOps needs there, and right?"""

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Annotated

import typer

from services.cli.environment import load_settings
from services.cli.finding import PROBLEM, Finding
from services.cli.outcome import EXIT_FAILED, OneSentenceGroup
from services.cli.start import Config
from services.cli.table import print_json, render_table

config_app = typer.Typer(help="Settings and finops.yaml.", no_args_is_help=True, cls=OneSentenceGroup)


@config_app.command("check")
def check(config: Config = None) -> None:
    """Read all settings and finops.yaml, and stop with one sentence at the first thing that is wrong."""
    typer.echo(_doctor().configuration_summary(load_settings({"config": config})))


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check Python, ports, the data directory, the event log, the log store and the providers."""
    settings = load_settings()
    with _silent_libraries():
        findings: list[Finding] = asyncio.run(_doctor().examine(settings))
    if as_json:
        print_json([finding.as_dict() for finding in findings])
    else:
        typer.echo(_table(findings))
    if any(finding.state == PROBLEM for finding in findings):
        raise typer.Exit(EXIT_FAILED)


@contextmanager
def _silent_libraries() -> Generator[None]:
    """What a client library says about a server that is away is in the report, in one sentence."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _doctor() -> ModuleType:
    """The examinations bring every service's libraries with them, so other commands do without."""
    return import_module("services.cli.doctor")


def _table(findings: list[Finding]) -> str:
    rows = [[finding.state, finding.subject, finding.detail] for finding in findings]
    fixes = [f"{finding.subject}: {finding.fix}" for finding in findings if finding.fix]
    text = render_table(["STATE", "WHAT", "FOUND"], rows)
    return text + (
        "\n\nTo repair:\n" + "\n".join(f"  {fix}" for fix in fixes) if fixes else "\n\nAll is well."
    )

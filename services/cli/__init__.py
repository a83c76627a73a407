"""The `finops` command."""

from importlib.metadata import version
from typing import Annotated

import typer

from services.cli.check import config_app, doctor
from services.cli.keys import keys_app
from services.cli.logs import logs_app
from services.cli.outcome import OneSentenceGroup
from services.cli.start import budget, gateway, log_ingest, up

app = typer.Typer(
    name="finops",
    cls=OneSentenceGroup,
    help="An AI gateway whose spend is provable. Start with: finops up",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("finops-gateway"))
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """An AI gateway whose spend is provable. Start with: finops up"""


app.command("up")(up)
app.command("gateway")(gateway)
app.command("log-ingest")(log_ingest)
app.command("budget")(budget)
app.add_typer(keys_app, name="keys")
app.add_typer(logs_app, name="logs")
app.add_typer(config_app, name="config")
app.command("doctor")(doctor)


def main() -> None:
    """Entry point of the console script."""
    app()

"""How a command ends when something is wrong: one sentence on standard error, no traceback.

Exit codes: 0 done, 1 it could not be done, 2 a wrong setting or argument.
"""

from typing import Any, Final

import typer
from typer.core import TyperGroup

from shared.errors import ConfigurationError, FinOpsError

EXIT_FAILED: Final = 1
EXIT_MISCONFIGURED: Final = 2


class CommandFailed(FinOpsError):
    """A command could not do its work. The message is what the person reads."""

    code = "command_failed"


class OneSentenceGroup(TyperGroup):
    """The command group that turns our errors into a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FinOpsError as error:
            typer.echo(f"finops: {error}", err=True)
            code = EXIT_MISCONFIGURED if isinstance(error, ConfigurationError) else EXIT_FAILED
            raise typer.Exit(code) from error

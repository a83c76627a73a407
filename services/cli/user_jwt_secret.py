"""How a key command is given the secret of user tokens: never on the command line, where others can read it."""

from typing import Annotated

import typer

from shared.errors import ConfigurationError
from shared.settings import process_environment
from shared.user_jwt import secret_problem

UserJwtSecretEnv = Annotated[
    str | None,
    typer.Option(
        "--user-jwt-secret-env",
        metavar="VARIABLE",
        help="Believe Open WebUI's signed user tokens; their secret stands in this variable here.",
    ),
]
UserJwtSecretPrompt = Annotated[
    bool, typer.Option("--user-jwt-secret-prompt", help="The same, but ask for the secret.")
]


def user_jwt_secret(variable: str | None, prompt: bool) -> str | None:
    """The secret; None when neither option was typed. Raises ConfigurationError, which never repeats the secret."""
    if variable is not None and prompt:
        raise ConfigurationError(
            "--user-jwt-secret-env and --user-jwt-secret-prompt cannot be given together."
        )
    if variable is not None:
        secret = process_environment().get(variable, "")
        if not secret:
            # not repeated: it may be the secret, typed in the wrong place
            raise ConfigurationError(
                "--user-jwt-secret-env is wrong: it must be the name of a variable that is set."
            )
        name = f"The secret in {variable}"
    elif prompt:
        secret = typer.prompt("Secret of user tokens", hide_input=True, err=True)
        name = "The secret"
    else:
        return None
    problem = secret_problem(secret)
    if problem:
        raise ConfigurationError(f"{name} {problem}.")
    return secret

"""Where a command takes its settings from: the environment, with what was typed on top."""

from collections.abc import Mapping
from typing import Final

from services.cli.outcome import CommandFailed
from shared.errors import ConfigurationError
from shared.security import ADMIN_TOKEN_FILE
from shared.settings import PREFIX, Settings, process_environment

URL_VARIABLE: Final = PREFIX + "URL"
"""Only commands that call a running FinOps read it; it is no setting of a service."""


def load_settings(typed: Mapping[str, object | None] | None = None) -> Settings:
    """Settings from the environment; `typed` (field name to value, None: not given) wins. Raises ConfigurationError."""
    environ = {name: value for name, value in process_environment().items() if name != URL_VARIABLE}
    for name, value in (typed or {}).items():
        if value is not None:
            environ[PREFIX + name.upper()] = str(value)
    return Settings.load(environ)


def find_admin_token(typed: str) -> str:
    """The token that was typed or set, else the one that `finops up` keeps in its data directory."""
    token = typed.strip() or _kept_admin_token()
    if not token.isascii() or not token.isprintable():
        raise ConfigurationError("The admin token is wrong: only printable ASCII characters can be sent.")
    return token


def _kept_admin_token() -> str:
    path = load_settings().data_dir / ADMIN_TOKEN_FILE
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise CommandFailed(
            f"There is no admin token: give --admin-token, set FINOPS_ADMIN_TOKEN, or run this where {path} is."
        ) from error
    except OSError as error:
        raise CommandFailed(f"The admin token in {path} cannot be read ({error.strerror}).") from error

"""What a standalone installation decides for itself: its secrets, and what its child process gets to see."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from shared.security import ADMIN_TOKEN_FILE, load_or_create_admin_token, load_or_create_secret_key
from shared.settings import PREFIX, Settings

SYSTEM_VARIABLES: Final = frozenset(
    {"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)
SYSTEM_PREFIXES: Final = ("LC_", "LD_", "DYLD_", "PYTHON")


@dataclass(frozen=True, slots=True)
class Installation:
    """`settings` with the data directory absolute and both secrets filled in."""

    settings: Settings
    admin_token_file: Path | None
    """None: the token was given as a setting."""
    new_admin_token: str = ""
    """The token when it was made just now: the one time it may be shown."""


def complete(settings: Settings, home: Path) -> Installation:
    """Fill in the secrets that no setting gives from files in `home`, made at the first start."""
    token_file = home / ADMIN_TOKEN_FILE
    was_there = token_file.exists()
    filled: dict[str, object] = {"data_dir": home}
    if not settings.secret_key.get_secret_value():
        key = load_or_create_secret_key(home)
        filled["secret_key"] = SecretStr(base64.b64encode(key).decode())
    if settings.admin_token.get_secret_value():
        return Installation(settings.model_copy(update=filled), None)
    token = load_or_create_admin_token(home)
    filled["admin_token"] = SecretStr(token)
    return Installation(settings.model_copy(update=filled), token_file, "" if was_there else token)


def child_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the log ingester: the settings, and of the rest only what programs need to run.

    Provider keys stay out: the child lets administrators run SQL over files and needs none of them.
    """
    system = {
        name: value
        for name, value in environ.items()
        if name in SYSTEM_VARIABLES or name.startswith(SYSTEM_PREFIXES)
    }
    return system | as_environment(settings)


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables from which `Settings.load` makes equal settings."""
    return {
        PREFIX + name.upper(): _text(value)
        for name in sorted(settings.model_fields_set)
        if (value := getattr(settings, name)) is not None
    }


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return str(value)

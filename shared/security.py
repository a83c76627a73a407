"""Secrets: sealing provider credentials, the installation's own key, the admin token.

A sealed text is `v1.` + base64url(12 bytes of nonce + AES-256-GCM ciphertext and tag). Its context (which provider,
which credential) is authenticated with it, so that a sealed secret cannot be moved to where it does not belong.
"""

import base64
import binascii
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import ConfigurationError, FinOpsError
from shared.settings import Settings

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_VERSION: Final = "v1"
SECRET_KEY_FILE: Final = "secret.key"
ADMIN_TOKEN_FILE: Final = "admin.token"
ADMIN_TOKEN_PREFIX: Final = "fo-admin-"


class SealError(FinOpsError):
    """A sealed secret was made with another key or for another place, or was changed."""

    code = "seal_broken"


def seal(secret: str, key: bytes, context: str) -> str:
    """Encrypt `secret` with the 32-byte `key`, bound to `context` such as `provider/credential`."""
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, secret.encode(), context.encode())
    return f"{_VERSION}.{base64.urlsafe_b64encode(nonce + sealed).decode().rstrip('=')}"


def unseal(sealed: str, key: bytes, context: str) -> str:
    """The secret inside. Raises SealError; its message never holds any part of a secret."""
    version, _, text = sealed.partition(".")
    if version != _VERSION:
        raise SealError(f"The secret of {context} is sealed in a form that this version does not know.")
    try:
        if "+" in text or "/" in text:
            raise ValueError("the other alphabet of base64, which the decoder takes as well")
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context.encode()).decode()
    except (binascii.Error, InvalidTag, ValueError) as error:
        raise SealError(
            f"The secret of {context} cannot be opened: FINOPS_SECRET_KEY is not the key that sealed it, or it was changed."
        ) from error


def load_secret_key(settings: Settings) -> bytes:
    """The 32 bytes of FINOPS_SECRET_KEY. Raises ConfigurationError when it is missing or wrong."""
    text = settings.secret_key.get_secret_value().strip()
    if not text:
        raise ConfigurationError(
            "FINOPS_SECRET_KEY is not set: give all services the same 32 random bytes in base64 "
            "(openssl rand -base64 32)."
        )
    return _decode_key(text, "FINOPS_SECRET_KEY")


def load_or_create_secret_key(data_dir: Path) -> bytes:
    """The key kept in `data_dir`/secret.key, made at first use and readable by its owner only.

    Raises ConfigurationError when the file holds something else or cannot be read or written.
    """
    path = data_dir / SECRET_KEY_FILE
    fresh = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    return _decode_key(_read_or_create(path, fresh), str(path))


def load_or_create_admin_token(data_dir: Path) -> str:
    """The admin token kept in `data_dir`/admin.token, made at first use and readable by its owner only."""
    path = data_dir / ADMIN_TOKEN_FILE
    token = _read_or_create(path, ADMIN_TOKEN_PREFIX + secrets.token_urlsafe(32))
    if not token:
        raise ConfigurationError(
            f"{path} is empty: delete it and a new admin token is made at the next start."
        )
    return token


def token_matches(given: str, expected: str) -> bool:
    """Whether two tokens are the same, in constant time. An empty expected token matches nothing."""
    return bool(expected) and hmac.compare_digest(
        given.encode(errors="surrogatepass"), expected.encode(errors="surrogatepass")
    )


def _decode_key(text: str, name: str) -> bytes:
    normal = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        key = base64.b64decode(normal + "=" * (-len(normal) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigurationError(f"{name} is wrong: it must be 32 bytes in base64.") from error
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"{name} is wrong: it must be 32 bytes in base64, but it holds {len(key)}.")
    return key


def _read_or_create(path: Path, fresh: str) -> str:
    """The text in the file; `fresh` is written when there is none. Whole or not at all, also with two at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create(path, fresh)
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be used: {error}.") from error


def _create(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first: its value holds
        except OSError:
            draft.replace(path)  # a file system without hard links
    finally:
        draft.unlink(missing_ok=True)

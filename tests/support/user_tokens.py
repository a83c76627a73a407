"""Tokens about users: as Open WebUI makes them with the same library, and by hand, for whatever that refuses to make."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any, Final

import jwt

SECRET: Final = "open-webui-and-gateway-know-it: ä %41 " + "s" * 16
LIFETIME_S: Final = 300


def claims(**overrides: Any) -> dict[str, Any]:
    """As of Ada. None leaves a claim out."""
    now = int(time.time())
    found = {
        "sub": "u-1",
        "email": "ada@example.org",
        "name": "Ada Ädmin",
        "role": "admin",
        "iss": "open-webui",
        "iat": now,
        "exp": now + LIFETIME_S,
    }
    return {name: value for name, value in (found | overrides).items() if value is not None}


def token(secret: str = SECRET, **overrides: Any) -> str:
    return jwt.encode(claims(**overrides), secret, algorithm="HS256")


def hand_made(header: object, payload: object, secret: str = SECRET) -> bytes:
    """Signed with HS256 whatever the header says. Bytes stay as they are, the rest becomes JSON."""
    signed = b".".join(_segment(part) for part in (header, payload))
    return signed + b"." + _base64(hmac.digest(secret.encode(), signed, hashlib.sha256))


def _segment(part: object) -> bytes:
    return _base64(part if isinstance(part, bytes) else json.dumps(part).encode())


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")

"""The secret that signs the tokens about a virtual key's users: what it may be, and what it is sealed for.

Open WebUI signs with its `FORWARD_USER_INFO_HEADER_JWT_SECRET`, as it stands there; so nothing is trimmed here.
"""

from typing import Annotated, Final

from pydantic import AfterValidator, SecretStr

MIN_SECRET_BYTES: Final = 32
"""A secret of HS256 is at least as long as the hash: RFC 7518, 3.2."""
MAX_SECRET_BYTES: Final = 1024


def secret_problem(secret: str) -> str:
    """What is wrong, as the end of a sentence that begins with the secret's name; empty when nothing is."""
    if not secret.isprintable() or secret != secret.strip():
        return "must not hold control characters, nor spaces at its ends"
    if not MIN_SECRET_BYTES <= len(secret.encode()) <= MAX_SECRET_BYTES:
        return f"must be {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes long, such as what `openssl rand -hex 32` prints"
    return ""


def sealing_context(key_id: str) -> str:
    """What the secret of this virtual key is sealed for. No credential's context looks like it: those begin with the
    name of a provider, which holds no colon."""
    return f"virtual-key:{key_id}:user_jwt_secret"


def _checked(value: SecretStr) -> SecretStr:
    problem = secret_problem(value.get_secret_value())
    if problem:
        raise ValueError(problem)
    return value


UserJwtSecretText = Annotated[SecretStr, AfterValidator(_checked)]
"""The secret itself."""

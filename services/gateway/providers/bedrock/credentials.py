"""AWS credentials: what a secret says, and the temporary ones that botocore gets and renews in a thread of its own.

A secret is one of: nothing or an access key's id (the default chain of AWS: environment, profile, web identity,
container, instance),
`ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]`, the JSON that `aws configure export-credentials` prints, or a
Bedrock API key. The provider's option `role_arn` (with `external_id`, `role_session_name`) has a role assumed with
whatever of the first three there is; `profile` picks a profile of the default chain.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import botocore.config
import botocore.session
import msgspec
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    Credentials,
    DeferredRefreshableCredentials,
    ReadOnlyCredentials,
    RefreshableCredentials,
)
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    MetadataRetrievalError,
)

from shared.errors import FinOpsError
from shared.telemetry import get_logger

log = get_logger(__name__)

MAX_SOURCES: Final = 1_000
PAUSE_S: Final = 20.0
"""After a renewal that failed, or brought nothing newer, while the old credentials still serve."""
MARGIN_S: Final = 15
"""Credentials with less left than this count as expired: the request that they sign takes time to arrive."""
_BUSY: Final = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded"})
_KEYS: Final = re.compile(r"((?:AKIA|ASIA)[A-Z0-9]{12,124}):([^:\s]+)(?::(\S+))?")

_LONE_KEY: Final = re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{12,124}")
"""What AWS_ACCESS_KEY_ID holds: the chain finds its other half beside it."""


class AwsRefused(FinOpsError):
    """AWS says no, or there are no credentials: another attempt will not help."""

    code = "aws_credentials_refused"


class AwsUnavailable(FinOpsError):
    """The service that gives credentials could not be asked."""

    code = "aws_credentials_unavailable"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs. `access_key` empty: whoever the default chain finds."""

    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    profile: str = ""
    role_arn: str = ""
    external_id: str = ""
    role_session_name: str = ""
    region: str = ""
    """Where the role is asked for."""

    @property
    def fixed(self) -> bool:
        """Nothing has to be fetched."""
        return bool(self.access_key and not self.role_arn)


class _Exported(msgspec.Struct):
    access_key: str = msgspec.field(name="AccessKeyId")
    secret_key: str = msgspec.field(name="SecretAccessKey")
    token: str | None = msgspec.field(name="SessionToken", default=None)


_exported: Final = msgspec.json.Decoder(_Exported)


def static_keys(secret: str) -> tuple[str, str, str] | None:
    """Access key, secret key and session token in a secret, all empty where the default chain is to find them.

    None when it holds none of that, and so is an API key.
    """
    text = secret.strip()
    if not text or _LONE_KEY.fullmatch(text):
        return "", "", ""
    if text.startswith("{"):
        try:
            found = _exported.decode(text)
        except msgspec.DecodeError:
            return None  # refused by AWS as the API key that it is taken for
        return found.access_key, found.secret_key, found.token or ""
    match = _KEYS.fullmatch(text)
    return (match[1], match[2], match[3] or "") if match is not None else None


Load = Callable[[Identity], Any]
"""Makes botocore's credentials of an identity. May block: it runs in a thread."""


class AwsCredentials:
    """Credentials ready for signing, one source for each identity, in memory only."""

    def __init__(self, load: Load | None = None) -> None:
        self._load = load or load_credentials
        self._sources: dict[Identity, _Source] = {}

    async def get(self, identity: Identity) -> Any:
        """Frozen credentials that are good now. Waits only where there are none yet, or none that are left.

        Raises AwsRefused or AwsUnavailable.
        """
        if identity.fixed:
            return ReadOnlyCredentials(identity.access_key, identity.secret_key, identity.token or None)
        source = self._sources.get(identity)
        if source is None:
            if len(self._sources) >= MAX_SOURCES:
                del self._sources[next(iter(self._sources))]
            source = self._sources[identity] = _Source(partial(self._load, identity))
        return await source.get()

    def forget(self, identity: Identity) -> None:
        """AWS does not know these credentials any more: look for others next time."""
        source = self._sources.get(identity)
        if source is not None:
            source.forget()

    async def close(self) -> None:
        """Wait for nobody: what a thread still fetches is thrown away."""
        for source in self._sources.values():
            await source.close()


class _Source:
    """One identity's credentials. However many ask at once, one renewal is under way at most."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._credentials: Any = None
        self._frozen: Any = None
        self._running: asyncio.Task[Any] | None = None
        self._pause_until = 0.0

    async def get(self) -> Any:
        if self._frozen is None or self._needs_renewal(MARGIN_S):
            # A caller that leaves must not take the others' answer with it.
            return await asyncio.shield(self._renewal())
        if self._needs_renewal(None) and asyncio.get_running_loop().time() >= self._pause_until:
            self._renewal()
        return self._frozen

    def forget(self) -> None:
        self._credentials = self._frozen = None

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def _needs_renewal(self, within_s: int | None) -> bool:
        """Whether they end within so many seconds; None: within the time that botocore renews them ahead."""
        if not isinstance(self._credentials, RefreshableCredentials):
            return False
        return bool(self._credentials.refresh_needed(within_s))

    def _renewal(self) -> asyncio.Task[Any]:
        if self._running is None:
            loop = asyncio.get_running_loop()
            self._running = loop.create_task(self._renew(), name="renew-aws-credentials")
            self._running.add_done_callback(self._ended)
        return self._running

    async def _renew(self) -> Any:
        try:
            self._credentials, self._frozen = await asyncio.to_thread(self._fetch)
        except (ConnectionError, HTTPClientError, MetadataRetrievalError) as error:
            raise AwsUnavailable(f"AWS credentials could not be had: {error}") from error
        except ClientError as error:
            kind = AwsUnavailable if _is_busy(error) else AwsRefused
            raise kind(f"AWS gave no credentials: {error}") from error
        except (BotoCoreError, OSError, ValueError) as error:
            # A profile, a file or a program that is named in the environment, and is not there or not right.
            raise AwsRefused(f"AWS credentials could not be read: {error}") from error
        return self._frozen

    def _fetch(self) -> tuple[Any, Any]:
        """In a thread: this reads files and asks servers."""
        credentials = self._credentials if self._credentials is not None else self._load()
        if credentials is None:
            raise AwsRefused("There are no AWS credentials: neither configured nor in the environment.")
        return credentials, credentials.get_frozen_credentials()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._running = None
        error = None if task.cancelled() else task.exception()
        if error is not None or self._needs_renewal(None):
            self._pause_until = asyncio.get_running_loop().time() + PAUSE_S
        if error is not None:
            log.warning("aws_credentials_not_renewed", reason=str(error))


def _is_busy(error: ClientError) -> bool:
    """The service would have answered at another time."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or status == 429 or error.response.get("Error", {}).get("Code", "") in _BUSY


def load_credentials(identity: Identity) -> Any:
    """botocore's own: static, from the default chain, or of a role. None when the chain finds none."""
    session = botocore.session.Session(profile=identity.profile or None)
    if identity.access_key:
        own = Credentials(identity.access_key, identity.secret_key, identity.token or None)
    else:
        own = session.get_credentials()
    if own is None or not identity.role_arn:
        return own
    names = {"ExternalId": identity.external_id, "RoleSessionName": identity.role_session_name}
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=partial(
            session.create_client,
            region_name=identity.region,
            config=botocore.config.Config(
                connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2}
            ),
        ),
        source_credentials=own,
        role_arn=identity.role_arn,
        extra_args={name: value for name, value in names.items() if value},
    )
    return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")

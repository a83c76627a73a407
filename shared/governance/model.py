"""What is governed: virtual keys, their budgets, providers with their credentials, routes, price overrides.

Each is the whole state of one entity, as it stands in the `value` of a `GovernanceChanged`. Pure data: ids,
versions and times are made by whoever asks for the change. Money is integer nano-dollars.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Window = Literal["1h", "1d", "1w", "1M", "1Y", "lifetime"]
"""Length of a budget window: hour, day, week, month, year, or never reset."""

Alignment = Literal["calendar", "rolling"]
"""`calendar`: starts at the UTC hour, midnight, Monday, 1st, 1 January. `rolling`: the last 3,600 s, 24 h, 7, 30, 365 days."""

KeyStatus = Literal["active", "revoked"]


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on spend within a window. A changed window or alignment is a new budget with a new id."""

    id: str
    limit_nanos: int
    window: Window
    alignment: Alignment = "calendar"


class UserJwtSecret(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the tokens about a key's users are signed with. Exactly one of the two."""

    env: str = ""
    """Name of the environment variable that the gateway reads."""
    sealed: str = ""
    """The secret sealed with the installation's key (see `shared/user_jwt.py`)."""


class VirtualKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key that a team or user calls the gateway with. The secret itself is nowhere: only its SHA-256."""

    id: str
    name: str
    key_sha256: str
    """Hex digest of the whole key."""
    prefix: str
    """The first characters, for people to recognise it."""
    status: KeyStatus = "active"
    budgets: tuple[Budget, ...] = ()
    allowed_models: tuple[str, ...] = ("*",)
    """Patterns over `provider/model` and names of routes; `*` matches any run of characters."""
    fallbacks: tuple[str, ...] = ()
    """Models or routes to try, in this order, when the one asked for fails; each must be allowed as well."""
    expires_at_ms: int | None = None
    team_id: str | None = None
    cost_in_usage: bool = True
    """Put `usage.cost` (USD) into answers."""
    always_send_usage: bool = False
    """Send the usage chunk of a stream even when the client did not ask."""
    trust_user_headers: bool = False
    """Believe the X-OpenWebUI-User-* headers of callers that hold this key."""
    user_jwt: UserJwtSecret | None = None
    """Believe of users what a token signed with this says, and nothing else."""
    on_unavailable: Literal["allow", "deny"] = "allow"
    """What to do when spend is unverifiable or events cannot be kept (spool full, counters stale)."""
    metadata: Mapping[str, Any] = {}
    created_at_ms: int = 0
    version: int = 0


class Team(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group of virtual keys. It only names its keys so far: its own budgets and limits attach here."""

    id: str
    name: str
    metadata: Mapping[str, Any] = {}
    version: int = 0


class Credential(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way to authenticate at a provider. Exactly one of `env` and `sealed`, or neither where none is needed."""

    name: str
    env: str = ""
    """Name of the environment variable that the gateway reads."""
    sealed: str = ""
    """The secret sealed with the installation's key (see `shared/security.py`)."""
    weight: float = 1.0
    models: tuple[str, ...] = ()
    """Patterns this credential may be used for; empty: all."""
    aliases: Mapping[str, str] = {}
    """Model -> what the provider calls it for this credential: a deployment, an endpoint, an inference profile."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Seconds. None: the installation's default."""

    connect: float | None = None
    first_byte: float | None = None
    between_chunks: float | None = None
    total: float | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server of models under a name of the operator's choice."""

    name: str
    type: str
    """A name in `shared/catalogue/provider_types.py`, which says how to speak to it."""
    base_url: str
    credentials: tuple[Credential, ...] = ()
    models: tuple[str, ...] | None = None
    """Model ids as the provider knows them; None: ask the server."""
    headers: Mapping[str, str] = {}
    timeouts: Timeouts = Timeouts()
    options: Mapping[str, str] = {}
    """What its type needs beyond address and credentials: a region, a project, the version of an API."""
    version: int = 0


class RouteTarget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the models behind a route."""

    model: str
    """`provider/model`."""
    weight: float = 1.0
    """Its share of the requests; 0: only when those before it have failed."""


class Route(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A name of its own for one or more models. Who may use the name may use what is behind it."""

    name: str
    targets: tuple[RouteTarget, ...]
    """One is drawn by weight for each request; the others are tried when it fails."""
    fallbacks: tuple[str, ...] = ()
    """`provider/model`, tried in this order when all targets have failed."""
    version: int = 0


class PriceOverride(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The operator's own price of `provider/model`. Nano-dollars per million tokens, or per unit."""

    model: str
    input_per_million_nanos: int = 0
    output_per_million_nanos: int = 0
    cached_read_per_million_nanos: int | None = None
    """None: the input price."""
    cache_write_per_million_nanos: int | None = None
    per_image_nanos: int = 0
    per_request_nanos: int = 0
    version: int = 0


Entity = VirtualKey | Team | Provider | Route | PriceOverride

"""Bodies of the admin API. Requests are strict: an unknown field or a wrong type is a 400 that names it.

Money is a decimal string in US dollars, times are RFC 3339 in UTC.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.config_file import MAX_FALLBACKS
from shared.field_types import (
    Fallback,
    Instant,
    InstantText,
    Metadata,
    ModelPattern,
    Name,
    PositiveUsd,
    distinct_windows,
)
from shared.governance.model import Alignment, Window
from shared.user_jwt import UserJwtSecretText

OnUnavailable = Literal["allow", "deny"]
KeyState = Literal["active", "revoked", "expired"]
ManagedBy = Literal["api", "config"]
Fallbacks = Annotated[list[Fallback], Field(max_length=MAX_FALLBACKS)]
"""Models or routes to try, in this order, when the one asked for fails."""


UserJwtSecretInput = Annotated[
    UserJwtSecretText | None,
    Field(
        description="What Open WebUI signs its user tokens with (`FORWARD_USER_INFO_HEADER_JWT_SECRET`). Kept sealed "
        "and never shown again; null: none."
    ),
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class BudgetInput(_Request):
    """A limit on spend within a window."""

    limit: PositiveUsd
    window: Window = Field(description="1h, 1d, 1w, 1M, 1Y, or lifetime (never reset)")
    alignment: Alignment = Field(
        "calendar", description="calendar: UTC hour, day, Monday, 1st, 1 January. rolling: the last window."
    )


class BudgetPatch(BudgetInput):
    """A budget of a key that is there already is recognised by its id, or by its window and alignment."""

    id: str | None = None


class CreateVirtualKey(_Request):
    """A new virtual key."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "team-a",
                    "budgets": [{"limit": "5.00", "window": "1M", "alignment": "calendar"}],
                    "allowed_models": ["openai/*"],
                    "expires_at": None,
                    "metadata": {},
                }
            ]
        }
    )

    name: Name
    budgets: Annotated[list[BudgetInput], Field(max_length=16), AfterValidator(distinct_windows)] = []
    allowed_models: Annotated[list[ModelPattern], Field(max_length=200)] = ["*"]
    fallbacks: Fallbacks = []
    expires_at: Instant | None = None
    cost_in_usage: bool = True
    always_send_usage: bool = False
    trust_user_headers: bool = False
    user_jwt_secret: UserJwtSecretInput = None
    on_unavailable: OnUnavailable = "allow"
    metadata: Metadata = {}


class PatchVirtualKey(_Request):
    """What is given is changed, the rest stays. `budgets` replaces the whole list.

    With `version`, the change is made only if the key still has that version, else the answer is 409.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"budgets": [{"limit": "10.00", "window": "1M"}], "allowed_models": ["*"], "version": 1}
            ]
        }
    )

    version: int | None = Field(None, ge=1)
    name: Name = ""
    budgets: Annotated[list[BudgetPatch], Field(max_length=16), AfterValidator(distinct_windows)] = []
    allowed_models: Annotated[list[ModelPattern], Field(max_length=200)] = []
    fallbacks: Fallbacks = []
    expires_at: Instant | None = None
    cost_in_usage: bool = True
    always_send_usage: bool = False
    trust_user_headers: bool = False
    user_jwt_secret: UserJwtSecretInput = None
    on_unavailable: OnUnavailable = "allow"
    metadata: Metadata = {}


class IfVersion(_Request):
    """What a change that needs nothing may be given: with `version`, it is made only if the key still has that
    version, else the answer is 409."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 1}]})

    version: int | None = Field(None, ge=1)


class BudgetView(BaseModel):
    """A budget and what was spent in its window now. `reserved`: by requests that are still running."""

    id: str
    limit: str = Field(examples=["5.00"])
    window: Window
    alignment: Alignment
    settled: str = Field(examples=["1.25"])
    reserved: str = Field(examples=["0.01"])
    resets_at: InstantText | None


class LifetimeSpend(BaseModel):
    """Everything this key ever spent. `unpriced`: requests whose price nobody knows."""

    settled: str
    reserved: str
    requests: int
    tokens: int
    unpriced: int


class VirtualKeyView(BaseModel):
    """A virtual key without its secret."""

    id: str
    name: str
    prefix: str
    status: KeyState
    budgets: list[BudgetView]
    allowed_models: list[str]
    fallbacks: list[str]
    expires_at: InstantText | None
    team_id: str | None
    cost_in_usage: bool
    always_send_usage: bool
    trust_user_headers: bool
    has_user_jwt_secret: bool = Field(
        description="Whether users are believed by signed tokens, and only by them"
    )
    on_unavailable: OnUnavailable
    metadata: dict[str, Any]
    spend: LifetimeSpend
    created_at: InstantText
    managed_by: ManagedBy
    version: int


class VirtualKeyWithSecret(VirtualKeyView):
    """The only answer that ever holds the key itself: it is stored as a hash."""

    key: str = Field(examples=["sk-fo-…"])


class VirtualKeyList(BaseModel):
    """Newest first. `next_cursor` is null on the last page."""

    items: list[VirtualKeyView]
    next_cursor: str | None


class CredentialView(BaseModel):
    """A credential without its secret. `source`: `env` (the variable `env`), `sealed` (kept encrypted) or `none`."""

    name: str
    source: Literal["env", "sealed", "none"]
    env: str | None = None
    is_set: bool = Field(description="For `env`: whether this service sees the variable")
    weight: float
    models: list[str]


class ProviderView(BaseModel):
    """A provider as configured."""

    name: str
    type: str
    base_url: str
    credentials: list[CredentialView]
    models: list[str] | None = Field(description="null: asked from the provider")
    managed_by: ManagedBy
    version: int


class ProviderList(BaseModel):
    """All providers by name."""

    items: list[ProviderView]
    next_cursor: str | None = None


class RouteTargetView(BaseModel):
    """One model behind a route."""

    model: str = Field(examples=["openai/gpt-4o-mini"])
    weight: float


class RouteView(BaseModel):
    """A name for models: one target is drawn by weight, the others and then the fallbacks are tried if it fails."""

    name: str = Field(examples=["fast"])
    targets: list[RouteTargetView]
    fallbacks: list[str]
    managed_by: ManagedBy
    version: int


class RouteList(BaseModel):
    """All routes by name."""

    items: list[RouteView]
    next_cursor: str | None = None


class ModelView(BaseModel):
    """A model and what it charges for, in US dollars. Null: it does not charge for that, or, where `price_basis` is
    `unpriced`, nobody knows. A kind of token without a price of its own costs as `input` or `output` do."""

    id: str = Field(examples=["openai/gpt-4o-mini"])
    provider: str
    model: str
    modality: str
    input_per_million: str | None = Field(description="Per million tokens, like all up to `reasoning`")
    output_per_million: str | None
    cached_input_per_million: str | None
    cache_write_per_million: str | None
    cache_write_1h_per_million: str | None = Field(description="Kept for an hour")
    input_audio_per_million: str | None
    output_audio_per_million: str | None
    input_image_per_million: str | None
    output_image_per_million: str | None
    reasoning_per_million: str | None
    per_image: str | None = Field(description="Where pictures differ in price, the dearest")
    per_million_characters: str | None = Field(description="Of text that is spoken")
    per_audio_hour: str | None = Field(description="Of audio, counted by the millisecond")
    per_search: str | None = Field(description="One search in the web")
    per_request: str | None = Field(description="One request; of a ranking, one search unit")
    price_basis: Literal["override", "genai-prices", "built-in", "unpriced"]


class ModelList(BaseModel):
    """Models of the configured providers."""

    items: list[ModelView]
    next_cursor: str | None = None

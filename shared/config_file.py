"""`finops.yaml`: read, checked strictly, and turned into typed sections. No event, no network, no secret resolved here.

Whatever is wrong raises ConfigurationError with one sentence that names the file and the path of the field, such as
`providers.mock.credentials[0].weight`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from shared.errors import ConfigurationError
from shared.field_types import (
    BaseUrl,
    Fallback,
    Instant,
    Metadata,
    ModelName,
    ModelPattern,
    Name,
    PositiveUsd,
    RouteName,
    Usd,
    distinct_windows,
    env_reference,
)
from shared.governance.keys import checksum_ok, looks_like_key
from shared.governance.model import Alignment, Window
from shared.governance.money import usd_from_nanos
from shared.governance.notation import parse_budget
from shared.settings import YEAR_S, Settings
from shared.user_jwt import secret_problem

DEFAULT_NAME: Final = "finops.yaml"
MAX_FALLBACKS: Final = 16


def _empty_section(value: object) -> object:
    """`providers:` with nothing under it means the same as leaving it out."""
    return {} if value is None else value


def _empty_list(value: object) -> object:
    return [] if value is None else value


def _budget(value: object) -> object:
    if not isinstance(value, str):
        return value
    limit_nanos, window, alignment = parse_budget(value)
    return {"limit": usd_from_nanos(limit_nanos), "window": window, "alignment": alignment}


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    env_reference(text)
    if not text.strip():
        raise ValueError("must not be empty; write env.NAME to take it from the environment")
    return value


def _virtual_key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if env_reference(text) is None and not (looks_like_key(text) and checksum_ok(text)):
        raise ValueError("must be env.NAME or a whole virtual key: sk-fo-, 40 characters and their checksum")
    return value


def _user_jwt_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    problem = "" if env_reference(text) is not None else secret_problem(text)
    if problem:
        raise ValueError(problem)
    return value


def _target(value: object) -> object:
    return {"model": value} if isinstance(value, str) else value


def _route(value: object) -> object:
    return {"targets": [value]} if isinstance(value, str) else value


Secret = Annotated[SecretStr, AfterValidator(_secret)]
"""`env.NAME` (a reference the gateway resolves) or the secret itself."""

VirtualKeySecret = Annotated[Secret, AfterValidator(_virtual_key)]

UserJwtSecretReference = Annotated[Secret, AfterValidator(_user_jwt_secret)]

ProviderName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""The part before the first slash of `provider/model`."""

HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$", max_length=4096)]
ModelId = Annotated[str, StringConstraints(pattern=r"^\S{1,200}$")]
OptionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
OptionValue = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=4096)]
Seconds = Annotated[float, Field(gt=0, le=YEAR_S)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CredentialConfig(_Section):
    """One way to authenticate. Without `api_key` the provider is called without a key."""

    name: Name
    api_key: Secret | None = None
    weight: float = Field(1.0, ge=0, le=1_000_000)
    models: list[ModelPattern] = []
    aliases: Annotated[dict[ModelId, ModelId], BeforeValidator(_empty_section)] = {}
    """Model -> what the provider calls it for this credential, such as a deployment."""


class TimeoutsConfig(_Section):
    """Seconds; what is left out is the installation's default."""

    connect: Seconds | None = None
    first_byte: Seconds | None = None
    between_chunks: Seconds | None = None
    total: Seconds | None = None


class ProviderConfig(_Section):
    """A server of models. `type` may be left out when the provider's name is a known type."""

    type: str = ""
    base_url: BaseUrl | None = None
    credentials: Annotated[list[CredentialConfig], BeforeValidator(_empty_list)] = []
    models: list[ModelId] | None = None
    """Missing: ask the server."""
    headers: Annotated[dict[HeaderName, HeaderValue], BeforeValidator(_empty_section)] = {}
    timeouts: Annotated[TimeoutsConfig, BeforeValidator(_empty_section)] = TimeoutsConfig()
    options: Annotated[dict[OptionName, OptionValue], BeforeValidator(_empty_section)] = {}
    """What the type needs beyond address and credentials: a region, a project, the version of an API."""

    @model_validator(mode="after")
    def _distinct_credentials(self) -> "ProviderConfig":
        _refuse_repeated("credentials", [credential.name for credential in self.credentials])
        return self


class BudgetConfig(_Section):
    """`limit` is in nano-dollars once read."""

    limit: PositiveUsd
    window: Window
    alignment: Alignment = "calendar"


class VirtualKeyConfig(_Section):
    """A virtual key whose secret the operator keeps."""

    name: Name
    key: VirtualKeySecret
    budgets: Annotated[
        list[Annotated[BudgetConfig, BeforeValidator(_budget)]], AfterValidator(distinct_windows)
    ] = []
    allowed_models: list[ModelPattern] = ["*"]
    fallbacks: Annotated[list[Fallback], Field(max_length=MAX_FALLBACKS)] = []
    expires_at: Instant | None = None
    team: Name | None = None
    cost_in_usage: bool = True
    always_send_usage: bool = False
    trust_user_headers: bool = False
    user_jwt_secret: UserJwtSecretReference | None = None
    on_unavailable: str = Field("allow", pattern="^(allow|deny)$")
    metadata: Metadata = {}


class TeamConfig(_Section):
    """A group of virtual keys."""

    name: Name
    metadata: Metadata = {}


class RouteTargetConfig(_Section):
    """One model behind a route; `provider/model` alone is one with a weight of 1."""

    model: ModelName
    weight: float = Field(1.0, ge=0, le=1_000_000)


class RouteConfig(_Section):
    """A name for models; `provider/model` alone is an alias of that model."""

    targets: Annotated[
        list[Annotated[RouteTargetConfig, BeforeValidator(_target)]], Field(min_length=1, max_length=64)
    ]
    fallbacks: Annotated[list[ModelName], Field(max_length=MAX_FALLBACKS)] = []

    @model_validator(mode="after")
    def _distinct_targets(self) -> "RouteConfig":
        _refuse_repeated("targets", [target.model for target in self.targets])
        return self


class PriceConfig(_Section):
    """The operator's own price of one `provider/model`, in US dollars. All amounts are nano-dollars once read."""

    input_per_million: Usd = 0
    output_per_million: Usd = 0
    cached_input_per_million: Usd | None = None
    """Left out: the input price."""
    cache_write_per_million: Usd | None = None
    per_image: Usd = 0
    per_request: Usd = 0


class ConfigFile(_Section):
    """The whole file. Every section may be missing or empty."""

    providers: Annotated[dict[ProviderName, ProviderConfig], BeforeValidator(_empty_section)] = {}
    virtual_keys: Annotated[list[VirtualKeyConfig], BeforeValidator(_empty_list)] = []
    teams: Annotated[list[TeamConfig], BeforeValidator(_empty_list)] = []
    routes: Annotated[
        dict[RouteName, Annotated[RouteConfig, BeforeValidator(_route)]], BeforeValidator(_empty_section)
    ] = {}
    prices: Annotated[dict[ModelName, PriceConfig], BeforeValidator(_empty_section)] = {}

    @model_validator(mode="after")
    def _consistent(self) -> "ConfigFile":
        _refuse_repeated("virtual_keys", [key.name for key in self.virtual_keys])
        _refuse_repeated("teams", [team.name for team in self.teams])
        secrets = [key.key.get_secret_value() for key in self.virtual_keys]
        if len(set(secrets)) != len(secrets):
            raise ValueError("virtual_keys must not use one key twice")
        teams = {team.name for team in self.teams}
        for key in self.virtual_keys:
            if key.team is not None and key.team not in teams:
                raise ValueError(
                    f"virtual key {key.name!r} names the team {key.team!r}, which teams does not list"
                )
        return self


def _refuse_repeated(where: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{where} must not hold {name!r} twice")


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a mapping with the same key twice, where YAML libraries silently keep the last, and
    leaves times as they are written: which of them are right is for the fields to say."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag != "tag:yaml.org,2002:merge":
                key = str(self.construct_object(key_node, deep=True))
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key!r} stands there twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: str(node.value))


def parse_config(text: str, source: str = DEFAULT_NAME) -> ConfigFile:
    """The checked file. `source` names it in errors. Raises ConfigurationError."""
    try:
        document = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{source} is not valid YAML: line {line}: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source} is not valid YAML: {' '.join(str(error).split())}.") from error
    except (ValueError, RecursionError) as error:  # PyYAML lets them through
        raise ConfigurationError(f"{source} is not valid YAML: {error}.") from error
    if document is None:
        return ConfigFile()
    if not isinstance(document, dict):
        raise ConfigurationError(f"{source} is wrong: the file must be a mapping of sections.")
    try:
        return ConfigFile.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(_sentence(source, error)) from error


def config_name(settings: Settings) -> str:
    """What errors call the file that `load_config` reads."""
    return str(settings.config or DEFAULT_NAME)


def load_config(settings: Settings) -> ConfigFile:
    """The file at `FINOPS_CONFIG`, else `./finops.yaml` when it is there, else an empty one. Raises ConfigurationError."""
    path = Path(config_name(settings))
    if settings.config is None and not path.exists():
        return ConfigFile()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"FINOPS_CONFIG is wrong: {path} cannot be read ({error.strerror})."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} cannot be read: it is not UTF-8.") from error
    return parse_config(text, str(path))


def references(config: ConfigFile) -> Iterator[tuple[str, str]]:
    """(path of the field, variable name) of every `env.NAME` in the file, for a check against an environment."""
    for name, provider in config.providers.items():
        for position, credential in enumerate(provider.credentials):
            if credential.api_key is not None:
                variable = env_reference(credential.api_key.get_secret_value())
                if variable is not None:
                    yield f"providers.{name}.credentials[{position}].api_key", variable
    for position, key in enumerate(config.virtual_keys):
        for field, secret in (("key", key.key), ("user_jwt_secret", key.user_jwt_secret)):
            variable = env_reference(secret.get_secret_value()) if secret is not None else None
            if variable is not None:
                yield f"virtual_keys[{position}].{field}", variable


def field_path(location: tuple[int | str, ...]) -> str:
    """A pydantic location as a person writes it: `virtual_keys[0].budgets[1].limit`."""
    path = ""
    for part in location:
        if part == "[key]":
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


_SECTION_EXPECTED: Final = frozenset({"model_type", "model_attributes_type", "dict_type"})


def _sentence(source: str, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    path = field_path(first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{source} is wrong: {path} is not a known field."
    if first["type"] == "missing":
        return f"{source} is wrong: {path} is missing."
    if first["input"] is None and first["type"] in _SECTION_EXPECTED:
        return f"{source} is wrong: {path} has nothing under it; write {{}} to use the defaults."
    message = readable(first["msg"])
    return f"{source} is wrong: {path} {message}." if path else f"{source} is wrong: {message}."


def readable(message: str) -> str:
    """A pydantic message as the end of a sentence that begins with the field."""
    message = message.removeprefix("Value error, ").rstrip(".")
    if message.startswith("Input should be a valid dictionary"):
        return "must hold named fields, each with its value"
    for before, after in (("Input should", "should"), ("String should", "should"), ("List should", "should")):
        message = message.replace(before, after)
    return message

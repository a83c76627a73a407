"""What finops.yaml and the environment ask for, as governed entities. Reads nothing but its arguments.

Ids are made from names, so that several instances that start at once ask for the very same entities.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from services.budget.allowed_models import EXPECTED_PATTERN, idle_patterns
from services.budget.schemas import OnUnavailable
from shared.catalogue.provider_types import PROVIDER_TYPES, ProviderType, base_url_from_environment
from shared.config_file import (
    DEFAULT_NAME,
    ConfigFile,
    CredentialConfig,
    PriceConfig,
    ProviderConfig,
    RouteConfig,
    VirtualKeyConfig,
)
from shared.errors import ConfigurationError
from shared.field_types import callable_address, env_reference
from shared.governance.keys import checksum_ok, display_prefix, sha256_of
from shared.governance.model import (
    Budget,
    Credential,
    PriceOverride,
    Provider,
    Route,
    RouteTarget,
    Team,
    Timeouts,
    UserJwtSecret,
    VirtualKey,
)
from shared.security import seal
from shared.user_jwt import secret_problem

DEMO: Final = "demo"


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Entities by id, without versions. `secrets`: literal credentials by (provider, credential), `user_jwt_secrets`:
    literal ones by key, sealed later: a sealed text differs each time, so whether it changed is told by its content."""

    providers: Mapping[str, Provider]
    routes: Mapping[str, Route]
    prices: Mapping[str, PriceOverride]
    teams: Mapping[str, Team]
    keys: Mapping[str, VirtualKey]
    secrets: Mapping[tuple[str, str], str]
    user_jwt_secrets: Mapping[str, str]
    warnings: tuple[str, ...]
    source: str
    """What errors call the file."""


def desired_state(config: ConfigFile, environ: Mapping[str, str], source: str = DEFAULT_NAME) -> DesiredState:
    """Raises ConfigurationError for what only shows here: an unknown provider type, a missing address or key.
    `source` names the file in errors."""
    warnings: list[str] = []
    providers = {provider.name: provider for provider in _discovered(environ, config.providers, warnings)}
    secrets: dict[tuple[str, str], str] = {}
    for name, section in config.providers.items():
        providers[name] = _provider(name, section, source)
        for position, credential in enumerate(section.credentials):
            secret = credential.api_key.get_secret_value() if credential.api_key is not None else ""
            variable = env_reference(secret)
            if variable is None and secret:
                secrets[name, credential.name] = secret
            elif variable is not None and not environ.get(variable):
                warnings.append(
                    f"providers.{name}.credentials[{position}].api_key refers to {variable}, which is not set here."
                )
    warnings += _unknown_names(config, providers)
    teams = {
        team_id(team.name): Team(id=team_id(team.name), name=team.name, metadata=team.metadata)
        for team in config.teams
    }
    keys = [_virtual_key(position, key, environ, source) for position, key in enumerate(config.virtual_keys)]
    warnings += _unusable_user_jwt_secrets(config, environ)
    return DesiredState(
        providers=providers,
        routes={name: _route(name, section) for name, section in config.routes.items()},
        prices={model: _price(model, section) for model, section in config.prices.items()},
        teams=teams,
        keys={key.id: key for key in keys},
        secrets=secrets,
        user_jwt_secrets=dict(_literal_user_jwt_secrets(config)),
        warnings=tuple(warnings),
        source=source,
    )


def key_id(name: str) -> str:
    """The id of a virtual key that finops.yaml names."""
    return f"vk_{_digest('virtual_key', name)}"


def team_id(name: str) -> str:
    """The id of a team that finops.yaml names."""
    return f"team_{_digest('team', name)}"


def seal_credential(provider: str, credential: str, secret: str, secret_key: bytes) -> str:
    """The secret sealed for exactly this credential: copied to another one it cannot be opened."""
    return seal(secret, secret_key, f"{provider}/{credential}")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(("finops.yaml", *parts)).encode()).hexdigest()[:26]


def _discovered(
    environ: Mapping[str, str], configured: Collection[str], warnings: list[str]
) -> Iterator[Provider]:
    """The built-in demo provider, and every provider whose usual variable is set and that is not `configured`. An
    address that nobody can call is a warning and no provider: the variables are other programs'."""
    yield Provider(
        name=DEMO, type=DEMO, base_url=PROVIDER_TYPES[DEMO].base_url, credentials=(Credential(name="none"),)
    )
    for name, known in PROVIDER_TYPES.items():
        if name in configured:
            continue
        variable = next((variable for variable in known.env_vars if environ.get(variable)), "")
        address = base_url_from_environment(known, environ)
        base_url = address or known.base_url
        problem = _problem_of(address)
        if problem:
            variable = next(name for name in known.base_url_env_vars if environ.get(name, "").strip())
            warnings.append(f"{variable} {problem}; without it there is no provider {name}.")
            continue
        if base_url and (variable or address):
            credential = Credential(name="environment" if variable else "none", env=variable)
            yield Provider(
                name=name,
                type=name,
                base_url=base_url,
                credentials=(credential,),
                options=_options(known, environ),
            )


def _problem_of(address: str) -> str:
    """What is wrong with an address of the environment; empty when nothing is."""
    try:
        if address:
            callable_address(address)
    except ValueError as error:
        return str(error)
    return ""


def _options(known: ProviderType, environ: Mapping[str, str]) -> dict[str, str]:
    """What the environment says of a type's options."""
    found = {
        option: next((environ[name] for name in variables if environ.get(name)), "")
        for option, variables in known.option_env_vars
    }
    return {option: value for option, value in found.items() if value}


def _provider(name: str, section: ProviderConfig, source: str) -> Provider:
    kind = section.type or name
    known = PROVIDER_TYPES.get(kind)
    if known is None:
        what = f"{kind!r} is not a known provider type" if section.type else "is missing"
        raise ConfigurationError(
            f"{source} is wrong: providers.{name}.type {what}; use one of {', '.join(sorted(PROVIDER_TYPES))}."
        )
    base_url = section.base_url or known.base_url
    if not base_url and kind != DEMO:
        raise ConfigurationError(
            f"{source} is wrong: providers.{name}.base_url is missing; the type {kind} has no address of its own."
        )
    return Provider(
        name=name,
        type=kind,
        base_url=base_url,
        credentials=tuple(_credential(one) for one in section.credentials) or (Credential(name="none"),),
        models=None if section.models is None else tuple(section.models),
        headers=section.headers,
        timeouts=Timeouts(**section.timeouts.model_dump()),
        options=section.options,
    )


def _route(name: str, section: RouteConfig) -> Route:
    return Route(
        name=name,
        targets=tuple(RouteTarget(model=target.model, weight=target.weight) for target in section.targets),
        fallbacks=tuple(section.fallbacks),
    )


def _unknown_names(config: ConfigFile, providers: Mapping[str, Provider]) -> Iterator[str]:
    """Models of routes and prices whose provider is not there, perhaps only because its variable is not set here, and
    what keys allow without allowing anything."""
    for name, route in config.routes.items():
        for model in (*(target.model for target in route.targets), *route.fallbacks):
            provider = model.partition("/")[0]
            if provider not in providers:
                yield f"routes.{name} names {model}, but there is no provider {provider}."
    for model in config.prices:
        provider = model.partition("/")[0]
        if provider not in providers:
            yield f"prices.{model} is never used: there is no provider {provider}."
    for position, key in enumerate(config.virtual_keys):
        for pattern in idle_patterns(key.allowed_models, config.routes, providers):
            yield f"virtual_keys[{position}].allowed_models: {pattern!r} allows nothing; {EXPECTED_PATTERN}."


def _literal_user_jwt_secrets(config: ConfigFile) -> Iterator[tuple[str, str]]:
    for key in config.virtual_keys:
        secret = key.user_jwt_secret.get_secret_value() if key.user_jwt_secret is not None else ""
        if secret and env_reference(secret) is None:
            yield key_id(key.name), secret


def _unusable_user_jwt_secrets(config: ConfigFile, environ: Mapping[str, str]) -> Iterator[str]:
    """Warnings only: it is the gateways that read these variables."""
    for position, key in enumerate(config.virtual_keys):
        variable = _user_jwt_variable(key)
        if variable:
            value = environ.get(variable, "")
            problem = f"whose value {secret_problem(value)}" if value else "which is not set here"
            if not value or secret_problem(value):
                yield f"virtual_keys[{position}].user_jwt_secret refers to {variable}, {problem}."


def _user_jwt_variable(section: VirtualKeyConfig) -> str:
    secret = section.user_jwt_secret
    return env_reference(secret.get_secret_value()) or "" if secret is not None else ""


def _credential(section: CredentialConfig) -> Credential:
    secret = section.api_key.get_secret_value() if section.api_key is not None else ""
    return Credential(
        name=section.name,
        env=env_reference(secret) or "",
        weight=section.weight,
        models=tuple(section.models),
        aliases=section.aliases,
    )


def _virtual_key(
    position: int, section: VirtualKeyConfig, environ: Mapping[str, str], source: str
) -> VirtualKey:
    secret = section.key.get_secret_value()
    variable = env_reference(secret)
    if variable is not None:
        secret = environ.get(variable, "")
        if not checksum_ok(secret):
            problem = "does not hold a whole virtual key (sk-fo-...)" if secret else "is not set"
            raise ConfigurationError(
                f"{source} is wrong: virtual_keys[{position}].key refers to {variable}, which {problem}."
            )
    identifier = key_id(section.name)
    user_jwt_variable = _user_jwt_variable(section)
    return VirtualKey(
        id=identifier,
        name=section.name,
        key_sha256=sha256_of(secret),
        prefix=display_prefix(secret),
        budgets=tuple(
            Budget(
                id=f"bud_{_digest('budget', identifier, budget.window, budget.alignment)}",
                limit_nanos=budget.limit,
                window=budget.window,
                alignment=budget.alignment,
            )
            for budget in section.budgets
        ),
        allowed_models=tuple(section.allowed_models),
        fallbacks=tuple(section.fallbacks),
        expires_at_ms=section.expires_at,
        team_id=None if section.team is None else team_id(section.team),
        cost_in_usage=section.cost_in_usage,
        always_send_usage=section.always_send_usage,
        trust_user_headers=section.trust_user_headers,
        user_jwt=UserJwtSecret(env=user_jwt_variable) if user_jwt_variable else None,
        on_unavailable=cast(OnUnavailable, section.on_unavailable),
        metadata=section.metadata,
    )


def _price(model: str, section: PriceConfig) -> PriceOverride:
    return PriceOverride(
        model=model,
        input_per_million_nanos=section.input_per_million,
        output_per_million_nanos=section.output_per_million,
        cached_read_per_million_nanos=section.cached_input_per_million,
        cache_write_per_million_nanos=section.cache_write_per_million,
        per_image_nanos=section.per_image,
        per_request_nanos=section.per_request,
    )

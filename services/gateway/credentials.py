"""Which secret a call to a provider carries: chosen by weight among those that may be used for the model."""

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from services.gateway.errors import ClientError
from shared.errors import ConfigurationError, FinOpsError
from shared.governance.admission import matches
from shared.governance.model import Credential, Provider
from shared.security import load_secret_key, unseal
from shared.settings import Settings
from shared.telemetry import get_logger

log = get_logger(__name__)

NO_ALIASES: Final[Mapping[str, str]] = MappingProxyType({})

Unseal = Callable[[str, str], str]
"""(sealed secret, context) -> secret. Raises FinOpsError when this installation cannot open it."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A credential ready to be used. Both empty where the provider has none."""

    name: str
    secret: str
    aliases: Mapping[str, str] = field(default_factory=lambda: NO_ALIASES)
    """Model -> what the provider calls it for this credential."""


@dataclass(frozen=True, slots=True)
class Usable:
    """A credential that can be used, how often, and for which models."""

    chosen: Chosen
    weight: float
    models: tuple[str, ...]

    def serves(self, model: str) -> bool:
        """`model` is the provider's own id; empty for calls about no model, which every credential serves."""
        return not model or not self.models or matches(self.models, model)


_NONE_NEEDED = Chosen("", "")


class Credentials:
    """Secrets are opened once per version of their provider and kept in memory only."""

    def __init__(self, environ: Mapping[str, str], unseal: Unseal) -> None:
        self._environ = environ
        self._unseal = unseal
        self._opened: dict[str, tuple[int, tuple[Usable, ...]]] = {}

    def choose(self, provider: Provider, model: str, avoid: Collection[str] = ()) -> Chosen:
        """A credential for `model` (the provider's id, empty for none), one not to `avoid` if there is any.

        Raises ClientError `provider_not_configured` when the provider has credentials and none can be used.
        """
        if not provider.credentials:
            return _NONE_NEEDED
        usable = self._usable(provider)
        if len(usable) == 1 and not usable[0].models:
            return usable[0].chosen  # nothing to choose: the usual case
        fitting = self._fitting(provider, model)
        fresh = [each for each in fitting if each.chosen.name not in avoid] if avoid else fitting
        pool = fresh or fitting
        if not pool:
            raise _not_configured(provider)
        if len(pool) == 1:
            return pool[0].chosen
        return random.choices(pool, [each.weight for each in pool])[0].chosen

    def all_of(self, provider: Provider) -> tuple[Usable, ...]:
        """Every one that can be used. Raises ClientError `provider_not_configured` when there are some and none can."""
        if not provider.credentials:
            return (Usable(_NONE_NEEDED, 1.0, ()),)
        usable = self._usable(provider)
        if not usable:
            raise _not_configured(provider)
        return usable

    def names(self, provider: Provider, model: str) -> tuple[str, ...]:
        """The credentials that could serve `model`; one without a name where the provider needs none."""
        if not provider.credentials:
            return (_NONE_NEEDED.name,)
        return tuple([usable.chosen.name for usable in self._fitting(provider, model)])

    def _fitting(self, provider: Provider, model: str) -> list[Usable]:
        """Where some credential has a name of its own for the model, those that have none for it are not asked."""
        fitting = [usable for usable in self._usable(provider) if usable.serves(model)]
        if len(fitting) < 2:
            return fitting
        return [usable for usable in fitting if model in usable.chosen.aliases] or fitting

    def _usable(self, provider: Provider) -> tuple[Usable, ...]:
        known = self._opened.get(provider.name)
        if known is not None and known[0] == provider.version:
            return known[1]
        found = tuple(
            Usable(Chosen(credential.name, secret, credential.aliases), credential.weight, credential.models)
            for credential in provider.credentials
            if credential.weight > 0 and (secret := self._open(provider, credential)) is not None
        )
        self._opened[provider.name] = (provider.version, found)
        return found

    def _open(self, provider: Provider, credential: Credential) -> str | None:
        """The secret; None, with a log line, when it cannot be had here."""
        where = {"provider": provider.name, "credential": credential.name}
        if credential.env:
            secret = self._environ.get(credential.env, "").strip()
            if not secret:
                log.warning("credential_variable_is_not_set", variable=credential.env, **where)
                return None
            return secret
        if not credential.sealed:
            return ""
        try:
            return self._unseal(credential.sealed, f"{provider.name}/{credential.name}")
        except FinOpsError as error:
            log.error("credential_cannot_be_opened", reason=str(error), **where)
            return None


def _not_configured(provider: Provider) -> ClientError:
    return ClientError(
        "provider_not_configured",
        f"The provider '{provider.name}' has no usable credential for this model. Tell your administrator.",
    )


def unsealer(settings: Settings) -> Unseal:
    """Opens with FINOPS_SECRET_KEY. Without one a gateway still serves every provider whose credentials are not sealed.

    Raises ConfigurationError when the key is there and wrong.
    """
    key = load_secret_key(settings) if settings.secret_key.get_secret_value() else b""

    def open_secret(sealed: str, context: str) -> str:
        if not key:
            raise ConfigurationError("FINOPS_SECRET_KEY is not set, so sealed credentials cannot be opened.")
        return unseal(sealed, key, context)

    return open_secret

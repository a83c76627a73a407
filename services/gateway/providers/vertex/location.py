"""Where a model of Vertex AI is asked: publisher, host and path."""

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.port import Target
from services.gateway.providers.vertex.google import project_of

Publisher = Literal["google", "anthropic", "mistralai", "openapi", "endpoint"]
"""`openapi`: of whichever publisher, through the OpenAI-compatible endpoint. `endpoint`: a tuned model of one's own."""

MULTI_REGIONS: Final = frozenset({"us", "eu"})
DEFAULT_LOCATION: Final = "global"
_PREFIXES: Final[tuple[tuple[Publisher, tuple[str, ...]], ...]] = (
    ("anthropic", ("claude-",)),
    ("mistralai", ("mistral-", "codestral-", "ministral-", "pixtral-", "magistral-")),
)
_LOCATION: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PROJECT: Final = re.compile(r"[A-Za-z0-9.:_-]{1,128}")


@dataclass(frozen=True, slots=True)
class Place:
    """One model at its publisher."""

    publisher: Publisher
    model: str
    root: str
    """The address up to the version of the API."""
    project: str
    """Empty with an API key that knows its own."""
    location: str

    def url(self, method: str, version: str = "v1") -> str:
        """The address of a method of the model."""
        model = quote(self.model, safe="@")
        if self.publisher == "endpoint":
            return f"{self.root}/{version}/{self._parent}endpoints/{model}:{method}"
        return f"{self.root}/{version}/{self._parent}publishers/{self.publisher}/models/{model}:{method}"

    @property
    def openai_url(self) -> str:
        """The address below which OpenAI's format is spoken."""
        return f"{self.root}/v1beta1/{self._parent}endpoints/openapi"

    @property
    def _parent(self) -> str:
        return f"projects/{self.project}/locations/{self.location}/" if self.project else ""


def place_of(target: Target, *, by_api_key: bool) -> Place:
    """Where the target's model is asked. Raises BadRequest when the provider's options lack what that takes.

    An API key knows its own project, and opens Google's models alone.
    """
    publisher, model = publisher_of(target.model_on_wire)
    location = _location_of(target)
    project = "" if by_api_key else target.provider.options.get("project") or project_of(target.secret)
    if by_api_key and publisher != "google":
        raise BadRequest(
            f"An API key does not open the model '{target.model}': the provider '{target.provider.name}' needs a service "
            "account's key. Tell your administrator."
        )
    if not project and not by_api_key:
        raise BadRequest(
            f"The provider '{target.provider.name}' has no project: set `options.project`. Tell your administrator."
        )
    if project and not _PROJECT.fullmatch(project):
        raise _wrong_place(target)
    return Place(publisher, model, root_of(target), project, location)


def root_of(target: Target) -> str:
    """The address up to the version of the API, for the target's location. Raises BadRequest when that is none."""
    location = _location_of(target)
    if not _LOCATION.fullmatch(location):
        raise _wrong_place(target)
    own = target.provider.base_url.rstrip("/")
    return own if own != target.type.base_url.rstrip("/") else f"https://{host_of(location)}"


def host_of(location: str) -> str:
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in MULTI_REGIONS:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"


def publisher_of(model: str) -> tuple[Publisher, str]:
    """Who serves a model, and how it is called there."""
    named = model.removeprefix("publishers/").replace("/models/", "/", 1)
    head, slash, rest = named.partition("/")
    if named.endswith("-maas"):
        return "openapi", named  # open models as a service, Google's among them
    if slash and head in ("google", "anthropic", "mistralai"):
        return next(known for known in ("google", "anthropic", "mistralai") if known == head), rest
    if slash:
        return "openapi", named
    if named.isdecimal():
        return "endpoint", named
    return next((known for known, prefixes in _PREFIXES if named.startswith(prefixes)), "google"), named


def _location_of(target: Target) -> str:
    options = target.provider.options
    return options.get("location") or options.get("region") or DEFAULT_LOCATION


def _wrong_place(target: Target) -> BadRequest:
    return BadRequest(f"The provider '{target.provider.name}' has a wrong project or location.")

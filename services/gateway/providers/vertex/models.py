"""The models that Vertex AI lists for each publisher, and which of them can be called as they are.

The format is that of `publishers.models.list` in v1beta1, which google-genai calls with `query_base`. The list is that
of the whole Model Garden, most of which must be deployed to an endpoint of one's own first, or does what no operation
here asks for. What is left out of it can be asked for by its name all the same.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

import msgspec

from services.gateway.providers.vertex.location import Publisher, publisher_of
from services.gateway.providers.wire_errors import unreadable_answer
from shared.catalogue.modality import Modality, modality_of

PUBLISHERS: Final[tuple[Publisher, ...]] = ("google", "anthropic", "mistralai")
PAGE_SIZE: Final = 200
_PAGE_TOKEN: Final = "&pageToken="
_CALLABLE: Final[Mapping[str, tuple[re.Pattern[str], frozenset[Modality]]]] = MappingProxyType(
    {
        "google": (
            re.compile(
                r"gemini-(?!.*computer-use).+|imagen-.*generate.*|(?:text|text-multilingual)-embedding-.+"
            ),
            frozenset({"chat", "embedding", "image", "speech"}),
        ),
        "anthropic": (re.compile(r"claude-.+"), frozenset({"chat"})),
        "mistralai": (re.compile(r".+"), frozenset({"chat"})),
    }
)
"""By publisher: the families of models that some operation here can call, and what they may be for. Of Imagen only
what draws from a text alone; Gemini's models that use a computer answer nobody without that tool."""
_DATE: Final = re.compile(r"\d{8}")
_DEPLOYS: Final = frozenset({"deploy", "multiDeployVertex"})


class _Model(msgspec.Struct, rename="camel"):
    name: str = ""
    """`publishers/{publisher}/models/{model}`."""
    version_id: str = ""
    open_source_category: str = ""
    launch_stage: str = ""
    supported_actions: dict[str, msgspec.Raw] = {}


class _ModelList(msgspec.Struct, rename="camel"):
    """Of a publisher without models it is an empty object."""

    publisher_models: list[_Model] | None = None
    next_page_token: str = ""


_list: Final = msgspec.json.Decoder(_ModelList)
_NOTHING: Final = b"{}"


def list_path(publisher: Publisher) -> str:
    """Where the first part of a publisher's list is, below the address of a location."""
    return f"/v1beta1/publishers/{publisher}/models?pageSize={PAGE_SIZE}"


def following_url(asked: str, answer: bytes) -> str:
    """Where the next part of the list is, after this answer; empty after the last. Raises UpstreamError."""
    token = _decoded(answer).next_page_token
    return f"{asked.partition(_PAGE_TOKEN)[0]}{_PAGE_TOKEN}{quote(token, safe='')}" if token else ""


def read_models(answer: bytes) -> tuple[str, ...]:
    """The names under which the models can be asked for here. Raises UpstreamError when it is something else."""
    names = (_name_of(model) for model in _decoded(answer).publisher_models or ())
    return tuple(dict.fromkeys(name for name in names if name))


def _name_of(model: _Model) -> str:
    """Empty for a model that cannot be called."""
    _, _, rest = model.name.partition("publishers/")
    publisher, _, name = rest.partition("/models/")
    families, modalities = _CALLABLE.get(publisher, (None, frozenset()))
    if families is None or modality_of(name) not in modalities or model.launch_stage == "PRIVATE_PREVIEW":
        return ""
    if name.endswith("-maas"):
        # An open model as a service: of the OpenAI-compatible endpoint, which wants both, only chats are asked for.
        return f"{publisher}/{name}" if modality_of(name) == "chat" else ""
    if not families.fullmatch(name) or _is_deployed_first(model):
        return ""
    if publisher == "anthropic" and _DATE.fullmatch(model.version_id):
        name = name.partition("@")[0] + f"@{model.version_id}"
    return name if publisher_of(name) == (publisher, name) else f"{publisher}/{name}"


def _is_deployed_first(model: _Model) -> bool:
    """Its weights can be had, and there is no server with them but one's own."""
    return model.open_source_category != "PROPRIETARY" and not _DEPLOYS.isdisjoint(model.supported_actions)


def _decoded(answer: bytes) -> _ModelList:
    try:
        found = _list.decode(answer)
    except msgspec.DecodeError as error:
        raise unreadable_answer() from error
    if found.publisher_models is None and not found.next_page_token and b"".join(answer.split()) != _NOTHING:
        raise unreadable_answer()
    return found

"""The models that Bedrock lists: those of the region that are called by their own name, and the profiles that the
others are called by."""

from typing import Final
from urllib.parse import quote

import msgspec

from services.gateway.providers.bedrock.errors import fault_in
from services.gateway.providers.wire_errors import unreadable_answer

PATH: Final = "/foundation-models"
PROFILES_PATH: Final = "/inference-profiles?maxResults=1000&type=SYSTEM_DEFINED"


class _Model(msgspec.Struct):
    modelId: str
    inferenceTypesSupported: list[str] = []


class _Profile(msgspec.Struct):
    inferenceProfileId: str
    status: str = "ACTIVE"


class _Lists(msgspec.Struct):
    """One of the two."""

    modelSummaries: list[_Model] | None = None
    inferenceProfileSummaries: list[_Profile] | None = None
    nextToken: str = ""


_lists: Final = msgspec.json.Decoder(_Lists)


def read_models(answer: bytes) -> tuple[str, ...]:
    """Raises UpstreamError when the answer is something else."""
    lists = _decoded(answer)
    if lists.modelSummaries is not None:
        models = (model.modelId for model in lists.modelSummaries if _is_callable(model))
        return tuple(dict.fromkeys(models))
    profiles = lists.inferenceProfileSummaries or ()
    return tuple(one.inferenceProfileId for one in profiles if one.status == "ACTIVE")


def following_path(answer: bytes) -> str:
    """Where the next part of the list is; empty after the last."""
    lists = _decoded(answer)
    if lists.modelSummaries is not None:
        return PROFILES_PATH
    return f"{PROFILES_PATH}&nextToken={quote(lists.nextToken, safe='-._~')}" if lists.nextToken else ""


def _decoded(answer: bytes) -> _Lists:
    try:
        lists = _lists.decode(answer)
    except msgspec.DecodeError as error:
        raise fault_in(answer) or unreadable_answer() from error
    if lists.modelSummaries is None and lists.inferenceProfileSummaries is None:
        raise fault_in(answer) or unreadable_answer()
    return lists


def _is_callable(model: _Model) -> bool:
    """By its own name, and without capacity bought ahead."""
    return not model.inferenceTypesSupported or "ON_DEMAND" in model.inferenceTypesSupported

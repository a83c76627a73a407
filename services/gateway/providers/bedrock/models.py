"""The models that Bedrock lists: those of the region, under the names that requests call them by."""

import re
from typing import Final

import msgspec

from services.gateway.providers.bedrock.errors import fault_in
from services.gateway.providers.wire_errors import unreadable_answer

PATH: Final = "/foundation-models"
_GEOGRAPHY: Final = (("us-gov-", "us-gov"), ("us-", "us"), ("eu-", "eu"), ("ap-", "apac"))
"""Region -> how the inference profiles of its part of the world begin."""
_REGION: Final = re.compile(r"arn:aws[a-z-]*:bedrock:([a-z0-9-]+):")


class _Model(msgspec.Struct):
    modelId: str
    modelArn: str = ""
    inferenceTypesSupported: list[str] = []


class _Models(msgspec.Struct):
    modelSummaries: list[_Model]


_models: Final = msgspec.json.Decoder(_Models)


def read_models(answer: bytes) -> tuple[str, ...]:
    """Raises UpstreamError when the answer is something else."""
    try:
        models = _models.decode(answer).modelSummaries
    except msgspec.DecodeError as error:
        raise fault_in(answer) or unreadable_answer() from error
    return tuple(dict.fromkeys(name for model in models if (name := _name(model))))


def _name(model: _Model) -> str:
    """Empty for a model that cannot be called without capacity bought ahead."""
    kinds = model.inferenceTypesSupported
    if not kinds or "ON_DEMAND" in kinds:
        return model.modelId
    if "INFERENCE_PROFILE" not in kinds:
        return ""
    region = _REGION.match(model.modelArn)
    place = region[1] if region is not None else ""
    prefix = next((name for start, name in _GEOGRAPHY if place.startswith(start)), "")
    return f"{prefix}.{model.modelId}" if prefix else ""

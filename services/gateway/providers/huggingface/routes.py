"""The inference providers behind the router: what each does beside chat, and how it is asked.

The forms are those of `huggingface_hub` (`inference/_providers`); those of Nebius and SambaNova, whom its newer versions
know no more, are those of its version 1.0. Whether a provider still serves a model is for the hub to say.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import msgspec

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.huggingface import results
from services.gateway.providers.huggingface.asked import DRAWING, Asked, Taste
from services.gateway.providers.huggingface.hub import HUB, Mapped
from services.gateway.providers.huggingface.queue import SUBDOMAIN
from services.gateway.providers.huggingface.talk import Call, Talk
from services.gateway.providers.operations import Operation
from services.gateway.upstream.port import UpstreamResponse

OWN_INFERENCE: Final = "hf-inference"
"""Hugging Face's own, whose addresses need no look-up."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """How an inference provider is asked for one operation."""

    taste: Taste
    call: Callable[[Asked, Mapped], Call]
    read: Callable[[Talk, Asked, UpstreamResponse], Awaitable[UpstreamResponse]] = results.as_it_is
    """Its answer as OpenAI's."""
    queued: bool = False
    """The call puts a job into fal's queue."""
    accept: str = "application/json"


def _json(path: str, body: Json, **headers: str) -> Call:
    return Call(path, msgspec.json.encode(body), headers=headers)


def _openais(path: str, key: str, **fixed: str) -> Callable[[Asked, Mapped], Call]:
    """A body in OpenAI's format, whose inputs have this key."""

    def call(asked: Asked, mapped: Mapped) -> Call:
        return _json(path, {key: asked.inputs, **fixed, **asked.parameters, "model": mapped.provider_id})

    return call


def _nscale_picture(asked: Asked, mapped: Mapped) -> Call:
    parameters = dict(asked.parameters)
    if "width" in parameters:
        parameters["size"] = f"{parameters.pop('width')}x{parameters.pop('height')}"
    body = {"response_format": "b64_json", "prompt": asked.inputs, "model": mapped.provider_id, **parameters}
    return _json("/v1/images/generations", body)


def _together_picture(asked: Asked, mapped: Mapped) -> Call:
    body = {"prompt": asked.inputs, "response_format": "base64", **_steps(asked), "model": mapped.provider_id}
    return _json("/v1/images/generations", body)


def _together_edit(asked: Asked, mapped: Mapped) -> Call:
    name, picture = mapped.provider_id.lower(), asked.data_url
    place: Json = {"reference_images": [picture]}
    if "kontext" in name and "flux.1" in name:
        place = {"image_url": picture}
    body = {**place, "response_format": "base64", **_steps(asked), "model": mapped.provider_id}
    return _json("/v1/images/generations", body)


def _steps(asked: Asked) -> Json:
    """Together has another word for the number of steps."""
    parameters = dict(asked.parameters)
    if "num_inference_steps" in parameters:
        parameters["steps"] = parameters.pop("num_inference_steps")
    return parameters


def _deepinfra_recording(asked: Asked, mapped: Mapped) -> Call:
    """As a form. The name of the file says what it is."""
    boundary = secrets.token_hex(16)
    kind = asked.media_type.partition(";")[0]
    head = f'Content-Disposition: form-data; name="file"; filename="audio.{kind.partition("/")[2]}"'
    pieces = [f"--{boundary}\r\n{head}\r\nContent-Type: {kind}\r\n\r\n".encode()]
    pieces += [asked.inputs if isinstance(asked.inputs, bytes) else b"", b"\r\n"]
    for name, value in {**asked.parameters, "model": mapped.provider_id}.items():
        text = value if isinstance(value, str) else json.dumps(value)
        field = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        pieces.append(field.encode())
    pieces.append(f"--{boundary}--\r\n".encode())
    return Call(
        "/v1/openai/audio/transcriptions", b"".join(pieces), f"multipart/form-data; boundary={boundary}"
    )


def _fal_picture(asked: Asked, mapped: Mapped) -> Call:
    body: Json = {"prompt": asked.inputs, **asked.parameters}
    if "width" in body:
        body["image_size"] = {"width": body.pop("width"), "height": body.pop("height")}
    body |= _fal_adapter(mapped)
    if "loras" in body and mapped.provider_id == "fal-ai/lora":
        # Its adapters of Stable Diffusion want to be told what they change, those of FLUX do not.
        body["model_name"] = "stabilityai/stable-diffusion-xl-base-1.0"
    return _json(_fal_path(mapped), body)


def _fal_edit(asked: Asked, mapped: Mapped) -> Call:
    parameters = dict(asked.parameters)
    if "target_size" in parameters:
        parameters["image_size"] = parameters.pop("target_size")
    picture = asked.data_url
    body = {"image_url": picture, "image_urls": [picture], **parameters, **_fal_adapter(mapped)}
    return _json(_fal_path(mapped) + SUBDOMAIN, body)


def _fal_speech(asked: Asked, mapped: Mapped) -> Call:
    return _json(_fal_path(mapped), {"text": asked.inputs, **asked.parameters})


def _fal_recording(asked: Asked, mapped: Mapped) -> Call:
    return _json(_fal_path(mapped), {"audio_url": asked.data_url_of("audio/mpeg"), **asked.parameters})


def _fal_adapter(mapped: Mapped) -> Json:
    if mapped.adapter_weights_path is None:
        return {}
    path = f"{HUB}/{mapped.model}/resolve/main/{mapped.adapter_weights_path}"
    return {"loras": [{"path": path, "scale": 1}]}


def _fal_path(mapped: Mapped) -> str:
    return f"/{quote(mapped.provider_id)}"


def _replicate_picture(asked: Asked, mapped: Mapped) -> Call:
    given: Json = {"prompt": asked.inputs, **asked.parameters}
    if mapped.adapter_weights_path is not None:
        given["lora_weights"] = f"{HUB}/{mapped.model}"
    return _prediction(mapped, given)


def _replicate_edit(asked: Asked, mapped: Mapped) -> Call:
    picture = asked.data_url
    places = {"image": picture, "images": [picture], "input_image": picture, "input_images": [picture]}
    return _prediction(mapped, {**places, **asked.parameters})


def _replicate_speech(asked: Asked, mapped: Mapped) -> Call:
    return _prediction(mapped, {"text": asked.inputs, **asked.parameters})


def _replicate_recording(asked: Asked, mapped: Mapped) -> Call:
    return _prediction(mapped, {"audio": asked.data_url, **asked.parameters})


def _prediction(mapped: Mapped, given: Json) -> Call:
    body: Json = {"input": given}
    name, versioned, version = mapped.provider_id.partition(":")
    path = f"/v1/models/{quote(name)}/predictions"
    if versioned:
        path, body["version"] = "/v1/predictions", version
    return _json(path, body, prefer="wait")


_VECTORS: Final = Taste(("dimensions",))
_DRAWN: Final = Taste(DRAWING)
_LINKED: Final = Taste((*DRAWING, "response_format"))
_SPOKEN: Final = Taste(("voice", "response_format", "speed"))
_VOICED: Final = Taste(("voice", "speed"), own_voices=True)
_HEARD: Final = Taste(("language", "prompt"))
_SOUND: Final = "*/*"

ROUTES: Final[Mapping[str, Mapping[Operation, Route]]] = MappingProxyType(
    {
        "deepinfra": {
            Operation.EMBEDDINGS: Route(_VECTORS, _openais("/v1/openai/embeddings", "input")),
            Operation.SPEECH: Route(_SPOKEN, _openais("/v1/openai/audio/speech", "input"), accept=_SOUND),
            Operation.TRANSCRIPTIONS: Route(_HEARD, _deepinfra_recording),
        },
        "fal-ai": {
            Operation.IMAGES: Route(_DRAWN, _fal_picture, results.fal_pictures),
            Operation.IMAGE_EDITS: Route(
                Taste(DRAWING, target_size=True), _fal_edit, results.fal_pictures, queued=True
            ),
            Operation.SPEECH: Route(_VOICED, _fal_speech, results.fal_speech),
            Operation.TRANSCRIPTIONS: Route(_HEARD, _fal_recording),
        },
        "nebius": {
            Operation.EMBEDDINGS: Route(Taste(), _openais("/v1/embeddings", "input")),
            Operation.IMAGES: Route(
                Taste(("negative_prompt", "num_inference_steps", "seed", "response_format")),
                _openais("/v1/images/generations", "prompt", response_format="b64_json"),
            ),
        },
        "nscale": {
            Operation.IMAGES: Route(
                Taste(("negative_prompt", "guidance_scale", "scheduler", "seed", "response_format")),
                _nscale_picture,
            ),
        },
        "replicate": {
            Operation.IMAGES: Route(_DRAWN, _replicate_picture, results.replicate_pictures),
            Operation.IMAGE_EDITS: Route(_DRAWN, _replicate_edit, results.replicate_pictures),
            Operation.SPEECH: Route(_VOICED, _replicate_speech, results.replicate_speech),
            Operation.TRANSCRIPTIONS: Route(Taste(), _replicate_recording, results.replicate_transcript),
        },
        "sambanova": {Operation.EMBEDDINGS: Route(_VECTORS, _openais("/v1/embeddings", "input"))},
        "scaleway": {Operation.EMBEDDINGS: Route(_VECTORS, _openais("/v1/embeddings", "input"))},
        "together": {
            Operation.EMBEDDINGS: Route(_VECTORS, _openais("/v1/embeddings", "input")),
            Operation.IMAGES: Route(_LINKED, _together_picture),
            Operation.IMAGE_EDITS: Route(_LINKED, _together_edit),
            Operation.SPEECH: Route(_SPOKEN, _openais("/v1/audio/speech", "input"), accept=_SOUND),
        },
    }
)
"""Inference provider -> operation -> how it is asked. Hugging Face's own is not among them."""


def providers_of(operation: Operation) -> tuple[str, ...]:
    """The inference providers that are known to have an operation."""
    others = (name for name, routes in ROUTES.items() if operation in routes)
    return tuple(sorted((OWN_INFERENCE, *others)))


def route_of(provider: str, operation: Operation) -> Route:
    """Raises BadRequest, which says who has the operation."""
    route = ROUTES.get(provider, {}).get(operation)
    if route is None:
        known = ", ".join(providers_of(operation))
        raise BadRequest(
            f"`model` names the inference provider '{provider}', which does not offer {operation.value} here. "
            f"As {{inference provider}}/{{org}}/{{model}} these do: {known}.",
            param="model",
        )
    return route

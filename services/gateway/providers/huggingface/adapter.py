"""Hugging Face's router: OpenAI's chat, and the formats of its own inference for vectors and pictures.

A model is `{inference_provider}/{org}/{model}`; without a provider the router chooses one. Vectors and pictures come
from Hugging Face's own, `hf-inference`, whose addresses need no look-up.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.completion import failed_answer, unix_now
from services.gateway.providers.embeddings import embeddings_answer
from services.gateway.providers.errors import BadRequest, Unsupported
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Adapter, Answer, Prepared, Target
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer
from services.gateway.upstream.port import UpstreamRequest
from shared.events import Tokens

OWN_INFERENCE: Final = "hf-inference"
_EMBED_OWN: Final = ("normalize", "prompt_name", "truncate", "truncation_direction")
_IMAGE_OWN: Final = ("negative_prompt", "num_inference_steps", "guidance_scale", "scheduler", "seed")
_IMAGE_IGNORED: Final = (
    "quality",
    "style",
    "background",
    "moderation",
    "output_format",
    "output_compression",
)


class _Served(msgspec.Struct):
    provider: str | None = None


class _Model(msgspec.Struct):
    id: str | None = None
    providers: list[_Served] | None = None


class _ModelList(msgspec.Struct):
    data: list[_Model]


_inputs: Final = msgspec.json.Decoder(str | list[str])
_vectors: Final = msgspec.json.Decoder(list[list[float]])
_model_list: Final = msgspec.json.Decoder(_ModelList)


class HuggingFaceAdapter(OpenAIAdapter):
    """See Adapter."""

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        if operation not in (Operation.EMBEDDINGS, Operation.IMAGES) or not isinstance(body, JsonBody):
            return super().build(operation, target, body)
        dropped: tuple[str, ...] = ()
        path = "/pipeline/feature-extraction"
        if operation is Operation.EMBEDDINGS:
            sent = _embedding_body(body)
        else:
            path = ""
            sent, dropped = _picture_body(body)
        root = target.provider.base_url.rstrip("/").removesuffix("/v1")
        headers = {"accept": "application/json" if path else "image/png", "content-type": "application/json"}
        if target.secret:
            headers["authorization"] = f"Bearer {target.secret.strip()}"
        headers.update((name.lower(), value) for name, value in target.provider.headers.items())
        url = f"{root}/{OWN_INFERENCE}/models/{quote(_own_model(target))}{path}"
        request = UpstreamRequest("POST", url, headers, msgspec.json.encode(sent), target.timeouts)
        return Prepared(request, streams=False, dropped=dropped)

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        if operation is Operation.EMBEDDINGS and isinstance(body, JsonBody):
            return _read_vectors(body, answer)
        if operation is Operation.IMAGES:
            return _read_picture(headers, answer)
        return super().read_answer(operation, body, headers, answer)

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        """Each model by itself, and by each inference provider that serves it."""
        try:
            models = _model_list.decode(answer).data
        except msgspec.DecodeError as error:
            raise unreadable_answer() from error
        names: dict[str, None] = {}
        for model in models:
            if model.id:
                names[model.id] = None
                served_by = [served.provider for served in model.providers or () if served.provider]
                names.update((f"{provider}/{model.id}", None) for provider in served_by)
        return tuple(names)


def _own_model(target: Target) -> str:
    """The model's `{org}/{model}`. Raises Unsupported when another inference provider is asked for."""
    name = target.model_on_wire
    if name.count("/") < 2:
        return name
    provider, _, rest = name.partition("/")
    if provider != OWN_INFERENCE:
        raise Unsupported(f"{target.provider.name} offers this only with models of {OWN_INFERENCE}.")
    return rest


def _embedding_body(body: JsonBody) -> dict[str, Any]:
    try:
        given = _inputs.decode(body.raw("input") or b"[]")
    except msgspec.DecodeError as error:
        raise BadRequest(
            "`input` must be a text or a list of texts with Hugging Face.", param="input"
        ) from error
    if not given:
        raise BadRequest("You must send an input.", param="input")
    if "dimensions" in body:
        raise BadRequest("`dimensions` cannot be chosen with Hugging Face.", param="dimensions")
    return {"inputs": [given] if isinstance(given, str) else given} | _passed(body, _EMBED_OWN)


def _picture_body(body: JsonBody) -> tuple[dict[str, Any], tuple[str, ...]]:
    prompt = body.text("prompt")
    if not prompt:
        raise BadRequest("You must send a prompt.", param="prompt")
    if body.n > 1:
        raise BadRequest("`n` must be 1 with Hugging Face.", param="n")
    if body.text("response_format") == "url":
        raise BadRequest("`response_format` must be `b64_json` with Hugging Face.", param="response_format")
    parameters = _passed(body, _IMAGE_OWN)
    size = body.text("size")
    if size and size != "auto":
        width, _, height = size.partition("x")
        if not width.isdecimal() or not height.isdecimal():
            raise BadRequest("`size` must be WIDTHxHEIGHT.", param="size")
        parameters |= {"width": int(width), "height": int(height)}
    sent: dict[str, Any] = {"inputs": prompt}
    if parameters:
        sent["parameters"] = parameters
    return sent, tuple(sorted(body.names & set(_IMAGE_IGNORED)))


def _passed(body: JsonBody, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: msgspec.Raw(raw) for name in names if (raw := body.raw(name)) is not None}


def _read_vectors(request: JsonBody, raw: bytes) -> OpenAIAnswer:
    try:
        vectors = _vectors.decode(raw)
    except msgspec.DecodeError:
        return failed_answer(raw, unreadable_answer())
    return embeddings_answer(request, vectors, estimate_answer(Operation.EMBEDDINGS, request, raw))


def _read_picture(headers: Mapping[str, str], raw: bytes) -> OpenAIAnswer:
    if not headers.get("content-type", "").startswith("image/"):
        return failed_answer(raw, unreadable_answer())
    document = {"created": unix_now(), "data": [{"b64_json": base64.b64encode(raw).decode()}]}
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}
    usage = Usage(Tokens(images=1))
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)


def proves_port(adapter: HuggingFaceAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter

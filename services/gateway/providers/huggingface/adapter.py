"""Hugging Face's router: OpenAI's chat, and the tasks of its own inference for vectors, pictures and sound.

A model is `{inference_provider}/{org}/{model}`; without a provider the router chooses one. The tasks are those of
Hugging Face's own, `hf-inference`, whose addresses need no look-up.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from services.gateway.providers.body import ParsedBody
from services.gateway.providers.errors import Unsupported
from services.gateway.providers.huggingface.inference import read_task, task_of
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Adapter, Answer, Prepared, Target
from services.gateway.providers.wire_errors import unreadable_answer
from services.gateway.upstream.port import UpstreamRequest

OWN_INFERENCE: Final = "hf-inference"


class _Served(msgspec.Struct):
    provider: str | None = None


class _Model(msgspec.Struct):
    id: str | None = None
    providers: list[_Served] | None = None


class _ModelList(msgspec.Struct):
    data: list[_Model]


_model_list: Final = msgspec.json.Decoder(_ModelList)


class HuggingFaceAdapter(OpenAIAdapter):
    """See Adapter."""

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        if operation is Operation.CHAT or operation.value not in target.type.operations:
            return super().build(operation, target, body)
        model = quote(_own_model(target))
        task = task_of(operation, body)
        if task is None:
            raise Unsupported(f"{target.provider.name} (huggingface) does not offer {operation.value}.")
        headers = {"accept": task.accept, "content-type": task.content_type}
        if target.secret:
            headers["authorization"] = f"Bearer {target.secret.strip()}"
        headers.update((name.lower(), value) for name, value in target.provider.headers.items())
        root = target.provider.base_url.rstrip("/").removesuffix("/v1")
        url = f"{root}/{OWN_INFERENCE}/models/{model}{task.path}"
        request = UpstreamRequest("POST", url, headers, task.body, target.timeouts)
        return Prepared(request, streams=False, dropped=task.dropped)

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        if operation is Operation.CHAT:
            return super().read_answer(operation, body, headers, answer)
        return read_task(operation, body, headers, answer)

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


def proves_port(adapter: HuggingFaceAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter

"""Hugging Face's router: OpenAI's chat, and the tasks of its inference providers for vectors, pictures and sound.

A model is `{inference_provider}/{org}/{model}`. Without a provider the router chooses one for a chat; a task is then
Hugging Face's own, `hf-inference`, whose addresses need no look-up. What others call a model the hub knows.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from services.gateway.providers.body import ParsedBody
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.huggingface.answer import read_task
from services.gateway.providers.huggingface.asked import TASKS, Asked, asked
from services.gateway.providers.huggingface.hub import HUB_ALONE, Mapped, Wanted, look_up_of, looked_up
from services.gateway.providers.huggingface.inference import ACCEPTED, TASTES, own_call
from services.gateway.providers.huggingface.queue import queued
from services.gateway.providers.huggingface.routes import OWN_INFERENCE, Route, providers_of, route_of
from services.gateway.providers.huggingface.talk import FetchFiles, Talk
from services.gateway.providers.jobs import Leaver
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Adapter, Answer, Converse, Prepared, Target
from services.gateway.providers.remembering import LookUp
from services.gateway.providers.usage import picture_of
from services.gateway.providers.wire_errors import unreadable_answer
from services.gateway.upstream.port import UpstreamClient, UpstreamRequest, UpstreamResponse


class _Served(msgspec.Struct):
    provider: str | None = None


class _Model(msgspec.Struct):
    id: str | None = None
    providers: list[_Served] | None = None


class _ModelList(msgspec.Struct):
    data: list[_Model]


_model_list: Final = msgspec.json.Decoder(_ModelList)


class HuggingFaceAdapter(OpenAIAdapter):
    """See Adapter. `files` fetches what models made where it must be in the answer."""

    def __init__(self, files: FetchFiles) -> None:
        self._files = files
        self._leaver = Leaver()

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        if operation not in TASKS or operation.value not in target.type.operations:
            return super().build(operation, target, body)
        provider, model = _named(target)
        if provider == OWN_INFERENCE:
            task = asked(operation, body, TASTES[operation])
            call = own_call(operation, task, model)
            request = _request(target, provider, ACCEPTED.get(operation, "application/json"))
            request.url += call.path
            request.headers = {**request.headers, "content-type": call.content_type}
            request.body = call.body
            return Prepared(request, False, task.dropped, picture=picture_of(None, task.size))
        route = route_of(provider, operation)
        task = asked(operation, body, route.taste)
        wanted = Wanted(provider, task.task, model, providers_of(operation), f"{target.provider.name}/")
        return Prepared(
            _request(target, provider, route.accept),
            False,
            task.dropped,
            self._converse(route, task, wanted, look_up_of(target, model)),
            picture_of(None, task.size),
        )

    def _converse(self, route: Route, task: Asked, wanted: Wanted, question: LookUp) -> Converse:
        async def converse(client: UpstreamClient, request: UpstreamRequest) -> UpstreamResponse:
            talk = Talk(client, request, self._files, self._leaver)
            found = await looked_up(client, question, wanted)
            if not isinstance(found, Mapped):
                return found
            call = route.call(task, found)
            response = await (queued(talk, call) if route.queued else talk.post(call))
            return await route.read(talk, task, response)

        return converse

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        if operation is Operation.CHAT:
            return super().read_answer(operation, body, headers, answer)
        return read_task(operation, body, headers, answer)

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        error = super().map_error(status, headers, body)
        error.of_model = HUB_ALONE in headers
        return error

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


def _named(target: Target) -> tuple[str, str]:
    """The inference provider, and the model's `{org}/{model}`."""
    name = target.model_on_wire
    if name.count("/") < 2:
        return OWN_INFERENCE, name
    provider, _, model = name.partition("/")
    return provider, model


def _request(target: Target, provider: str, accept: str) -> UpstreamRequest:
    """To the inference provider's address at the router, with the headers of all calls."""
    headers = {"accept": accept}
    if target.secret:
        headers["authorization"] = f"Bearer {target.secret.strip()}"
    headers.update((name.lower(), value) for name, value in target.provider.headers.items())
    root = target.provider.base_url.rstrip("/").removesuffix("/v1")
    return UpstreamRequest("POST", f"{root}/{provider}", headers, None, target.timeouts)


def proves_port(adapter: HuggingFaceAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter

"""A fake of Amazon Bedrock: checks signatures with botocore, requests against its model, and answers out of it."""

import asyncio
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from tests.support.gateway import served
from tests.support.providers import bedrock_text
from tests.support.providers.aws_model import (
    event_frame,
    exception_frame,
    frame,
    in_headers,
    json_of,
    model_in,
    operation,
    params_of,
    part_frame,
    problems,
    unknown_members,
)
from tests.support.providers.converse_rules import wrong_in_chat
from tests.support.providers.script import REFUSAL, RETRY_AFTER_S, Turn
from tests.support.upstream.app import Receive, Scope, Send

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
API_KEY = "ABSKQmVkcm9ja0FQSUtleS1leGFtcGxl"
STATIC = f"{ACCESS_KEY}:{SECRET_KEY}"
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
UNCOUNTED = "The provided model doesn't support counting tokens."
BETAS = frozenset(
    {
        "computer-use-2024-10-22", "computer-use-2025-01-24", "token-efficient-tools-2025-02-19",
        "interleaved-thinking-2025-05-14", "output-128k-2025-02-19", "dev-full-thinking-2025-05-14",
        "context-1m-2025-08-07", "context-management-2025-06-27", "effort-2025-11-24", "tool-search-tool-2025-10-19",
        "tool-examples-2025-10-29",
    }
)  # fmt: skip
"""Anthropic's that the service knows, by its user guide ("Anthropic Claude Messages API")."""
USAGE = {"inputTokens": 20, "outputTokens": 5, "totalTokens": 25}
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)


_FAILURES: dict[str, tuple[int, str]] = {
    "refused": (400, "ValidationException"),
    "denied": (403, "AccessDeniedException"),
    "limited": (429, "ThrottlingException"),
    "overloaded": (503, "ServiceUnavailableException"),
}
_FAULTS: dict[str, str] = {
    "error in 200": "error-200",
    "error event": "exception:serviceUnavailableException",
    "break": "cut",
    "early": "early",
    "stall": "stall",
}


@dataclass
class Reply:
    """What the next call gets. `fault`: cut, stall, early, exception:<name> (in the middle of a stream), error-200,
    garbage. `status` with `error`: an error answer."""

    content: list[dict[str, Any]] = field(default_factory=lambda: [{"text": "Hello from Bedrock."}])
    stop_reason: str = "end_turn"
    usage: dict[str, Any] = field(default_factory=lambda: dict(USAGE))
    status: int = 200
    error: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    body: bytes = b""
    """Of InvokeModel, as the model itself answers; empty: `content` in the words of a model that takes a prompt."""

    @property
    def saying(self) -> bedrock_text.Saying:
        return bedrock_text.Saying(
            "".join(block.get("text", "") for block in self.content),
            self.usage.get("inputTokens", USAGE["inputTokens"]),
            self.usage.get("outputTokens", USAGE["outputTokens"]),
            "length" if self.stop_reason == "max_tokens" else "stop",
            counted=bool(self.usage),
            blocked=self.stop_reason == "guardrail_intervened",
        )


@dataclass
class Asked:
    """One call as the service saw it. `params` are parameters of `operation` as botocore has them."""

    operation: str
    host: str
    path: str
    headers: dict[str, str]
    body: bytes
    params: dict[str, Any]
    region: str


@dataclass
class FakeBedrock:
    """`replies` are used up; afterwards everything is answered with what is played, or a plain Reply."""

    replies: list[Reply] = field(default_factory=list)
    turn: Turn | None = None
    asked: list[Asked] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    secrets: dict[str, tuple[str, str]] = field(default_factory=lambda: {ACCESS_KEY: (SECRET_KEY, "")})
    """Access key -> its secret and the session token that belongs to it."""
    models: list[dict[str, Any]] = field(default_factory=list)
    profiles: list[dict[str, Any]] = field(default_factory=list)
    """One to a page."""
    behind: dict[str, str] = field(default_factory=dict)
    """ARN -> the model that it stands for, where it does not tell."""

    def play(self, turn: Turn) -> None:
        self.turn = turn

    def received(self) -> list[dict[str, Any]]:
        return [asked.params for asked in self.asked]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _read(receive)
        path, query = scope["raw_path"].decode(), scope["query_string"].decode()
        path = f"{path}?{query}" if query else path
        region, refused = self._authenticated(scope["method"], path, headers, body)
        if refused:
            await _fail(send, 403, refused, "The security token included in the request is invalid.")
            return
        name, service = _operation_of(path)
        if name == "ListFoundationModels":
            shape = operation(service, name).output_shape
            await _json(send, json_of(shape, {"modelSummaries": self.models}))
            return
        if name == "ListInferenceProfiles":
            at = int(parse_qs(query).get("nextToken", ["0"])[0])
            page: dict[str, Any] = {"inferenceProfileSummaries": self.profiles[at : at + 1]}
            if at + 1 < len(self.profiles):
                page["nextToken"] = str(at + 1)
            await _json(send, json_of(operation(service, name).output_shape, page))
            return
        params, wrong = _checked(service, name, path, headers, body)
        wrong = wrong or self._refused_by_model(name, params)
        if wrong:
            await _fail(send, 400, "ValidationException", wrong)
            return
        self.asked.append(Asked(name, headers.get("host", ""), path, headers, body, params, region))
        await self._answer(service, name, params, receive, send)

    async def _answer(
        self, service: str, name: str, params: dict[str, Any], receive: Receive, send: Send
    ) -> None:
        standing = Reply() if self.turn is None else reply_of(self.turn, params)
        reply = self.replies.pop(0) if self.replies else standing
        if reply.status != 200:
            await _fail(send, reply.status, reply.error, f"{REFUSAL}: the fake says no", reply.headers)
        elif reply.fault == "error-200":
            await _json(send, {"__type": "com.amazon.coral#ThrottlingException", "message": "too many"})
        elif reply.fault == "garbage":
            await _whole(send, b"\x00\x00\x00\x20garbage that is no frame and no JSON at all")
        elif name == "InvokeModel":
            if reply.body:
                await _whole(send, reply.body, reply.headers)
            else:
                body, counts = bedrock_text.whole(self._model(params), reply.saying)
                await _whole(send, body, counts | reply.headers)
        elif name == "CountTokens" and not _is_counted(params["modelId"]):
            await _fail(send, 400, "ValidationException", UNCOUNTED)
        elif name == "CountTokens":
            count = {"inputTokens": reply.usage["inputTokens"]}
            await _json(send, json_of(operation(service, name).output_shape, count))
        elif name == "Rerank":
            await _json(send, json_of(operation(service, name).output_shape, _ranking(params)))
        elif name == "Converse":
            answer = {
                "output": {"message": {"role": "assistant", "content": reply.content}},
                "stopReason": reply.stop_reason,
                "usage": reply.usage,
                "metrics": {"latencyMs": 12},
            }
            await _json(send, json_of(operation(service, name).output_shape, answer))
        elif name == "InvokeModelWithResponseStream":
            await self._stream(reply, prompt_frames(self._model(params), reply), receive, send)
        else:
            await self._stream(reply, stream_frames(reply), receive, send)

    async def _stream(self, reply: Reply, frames: list[bytes], receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/vnd.amazon.eventstream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if reply.fault:
            frames = frames[: len(frames) // 2]
        if reply.fault.startswith("exception:"):
            frames.append(exception_frame(reply.fault.partition(":")[2], f"{REFUSAL}: it breaks off"))
        for piece in frames:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if reply.fault == "stall":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
        elif reply.fault != "cut":  # else the server drops the connection
            await send({"type": "http.response.body", "body": b""})

    def _model(self, params: dict[str, Any]) -> str:
        named = str(params["modelId"])
        return self.behind.get(named, named)

    def _refused_by_model(self, name: str, params: dict[str, Any]) -> str:
        """What a model that takes a prompt has against its own part of the request."""
        if not name.startswith("InvokeModel") or not bedrock_text.takes_prompts(self._model(params)):
            return ""
        return bedrock_text.wrong_in(self._model(params), params["body"])

    def _authenticated(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[str, str]:
        """The region signed for, and the exception that refuses the call; empty when it is let in."""
        given = headers.get("authorization", "")
        if given == f"Bearer {API_KEY}":
            return "", ""
        match = _AUTHORIZATION.fullmatch(given)
        if match is None:
            return "", "MissingAuthenticationTokenException"
        access_key, _, region, service, signed, signature = match.groups()
        secret, token = self.secrets.get(access_key, ("", ""))
        if not secret or headers.get("x-amz-security-token", "") != token or service != "bedrock":
            return region, "UnrecognizedClientException"
        signer = SigV4Auth(SimpleNamespace(access_key=access_key, secret_key=secret), service, region)
        covered = {name: headers[name] for name in signed.split(";") if name in headers}
        request = AWSRequest(method, f"http://{headers['host']}{path}", headers=covered, data=body)
        request.context["timestamp"] = headers["x-amz-date"]
        expected = signer.signature(
            signer.string_to_sign(request, signer.canonical_request(request)), request
        )
        return region, "" if hmac.compare_digest(expected, signature) else "InvalidSignatureException"


def reply_of(turn: Turn, params: dict[str, Any]) -> Reply:
    """A turn in Bedrock's words. A model that is made to call a tool calls it: its text is then the input."""
    status, error = _FAILURES.get(turn.fault, (200, ""))
    content: list[dict[str, Any]] = []
    if turn.thought:
        text = {"text": turn.thought, "signature": "c2ln"}
        content.append({"reasoningContent": {"reasoningText": text}})
    forced = params.get("toolConfig", {}).get("toolChoice", {}).get("tool")
    uses = [(call.id, call.name, call.arguments) for call in turn.calls]
    if forced and not uses and not turn.fault:
        uses = [("t1", forced["name"], msgspec.json.decode(turn.text))]
    content += [
        {"toolUse": {"toolUseId": id, "name": name, "input": arguments}} for id, name, arguments in uses
    ]
    usage = {"inputTokens": turn.prompt - turn.cached, "outputTokens": turn.completion}
    usage |= {"totalTokens": turn.prompt + turn.completion, "cacheReadInputTokens": turn.cached}
    return Reply(
        content=content if uses else [*content, {"text": turn.text}],
        stop_reason="tool_use" if uses else "end_turn",
        usage=usage,
        status=status,
        error=error,
        headers={"retry-after": str(RETRY_AFTER_S)} if turn.fault == "limited" else {},
        fault=_FAULTS.get(turn.fault, ""),
    )


def stream_frames(reply: Reply) -> list[bytes]:
    """The whole stream of a reply, frame by frame, as the service's model has it."""
    frames = [event_frame("messageStart", {"role": "assistant"})]
    for index, block in enumerate(reply.content):
        frames += _block_frames(index, block)
        frames.append(event_frame("contentBlockStop", {"contentBlockIndex": index}))
    frames.append(event_frame("messageStop", {"stopReason": reply.stop_reason}))
    frames.append(event_frame("metadata", {"usage": reply.usage, "metrics": {"latencyMs": 12}}))
    return frames


def prompt_frames(model: str, reply: Reply) -> list[bytes]:
    """The whole stream of a reply by a model that takes a prompt."""
    return [part_frame(part) for part in bedrock_text.parts(model, reply.saying)]


def _block_frames(index: int, block: dict[str, Any]) -> list[bytes]:
    def delta(piece: dict[str, Any]) -> bytes:
        return event_frame("contentBlockDelta", {"contentBlockIndex": index, "delta": piece})

    if "text" in block:
        return [delta({"text": piece}) for piece in _pieces(block["text"])]
    if "toolUse" in block:
        use = block["toolUse"]
        start = {name: use[name] for name in ("toolUseId", "name")}
        text = msgspec.json.encode(use["input"]).decode() if use["input"] else ""
        return [
            event_frame("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": start}}),
            *(delta({"toolUse": {"input": piece}}) for piece in _pieces(text)),
        ]
    reasoning = block["reasoningContent"]
    if "redactedContent" in reasoning:
        return [delta({"reasoningContent": {"redactedContent": reasoning["redactedContent"]}})]
    text = reasoning["reasoningText"]
    found = [delta({"reasoningContent": {"text": piece}}) for piece in _pieces(text["text"])]
    if "signature" in text:
        found.append(delta({"reasoningContent": {"signature": text["signature"]}}))
    return found


def _pieces(text: str) -> list[str]:
    return [text[at : at + 7] for at in range(0, len(text), 7)]


@asynccontextmanager
async def running_bedrock() -> AsyncIterator[tuple[FakeBedrock, str]]:
    """The fake on a free port, and its address."""
    fake = FakeBedrock()
    async with served(fake) as url:
        yield fake, url


def unnamed_error_frame(code: str, message: str) -> bytes:
    """An error that the service's model does not name."""
    return frame({":message-type": "error", ":error-code": code, ":error-message": message}, b"")


def _operation_of(path: str) -> tuple[str, str]:
    path = path.partition("?")[0]
    if path == "/foundation-models":
        return "ListFoundationModels", "bedrock"
    if path == "/inference-profiles":
        return "ListInferenceProfiles", "bedrock"
    if path == "/rerank":
        return "Rerank", "bedrock-agent-runtime"
    action = path.rpartition("/")[2]
    names = {
        "converse": "Converse",
        "converse-stream": "ConverseStream",
        "invoke": "InvokeModel",
        "invoke-with-response-stream": "InvokeModelWithResponseStream",
        "count-tokens": "CountTokens",
    }
    return names[action], "bedrock-runtime"


def _is_counted(model: str) -> bool:
    """Claude, by its own name: no profile of it, and nobody else."""
    return model.rpartition("foundation-model/")[2].startswith("anthropic.")


def _checked(
    service: str, name: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[dict[str, Any], str]:
    """The parameters in a request, and what is wrong with them."""
    shape = operation(service, name).input_shape
    params: dict[str, Any]
    if name.startswith("InvokeModel"):
        params = {**in_headers(shape, headers), "modelId": model_in(path), "body": body}
    else:
        params = params_of(shape, msgspec.json.decode(body))
        if name != "Rerank":
            params["modelId"] = model_in(path)
    wrong = problems(shape, params) or "; ".join(unknown_members(shape, params))
    if not wrong and name in ("Converse", "ConverseStream"):
        wrong = wrong_in_chat(params)
    fields = params.get("additionalModelRequestFields") or {}
    return params, wrong or _wrong_betas(fields) or _missing_thoughts(fields, params.get("messages", []))


def _wrong_betas(fields: dict[str, Any]) -> str:
    """Claude's own word for it, which Bedrock passes on."""
    betas = fields.get("anthropic_beta", [])
    if isinstance(betas, list) and BETAS.issuperset(betas):
        return ""
    return "The model returned the following errors: invalid beta flag"


def _missing_thoughts(fields: dict[str, Any], messages: list[dict[str, Any]]) -> str:
    """Claude's own word for a loop of tools that it is to think on in without having thought."""
    if fields.get("thinking", {}).get("type") != "enabled":
        return ""
    begins = []
    for message in reversed(messages):
        if message["role"] == "assistant":
            begins.append(message["content"][0])
        elif not any("toolResult" in block for block in message["content"]):
            break
    if not begins or any("reasoningContent" in block for block in begins):
        return ""
    return "The model returned the following errors: Expected `thinking` or `redacted_thinking`, but found `tool_use`"


def _ranking(params: dict[str, Any]) -> dict[str, Any]:
    wanted = params["rerankingConfiguration"]["bedrockRerankingConfiguration"]["numberOfResults"]
    count = len(params["sources"])
    order = list(range(count))[::-1][:wanted]
    return {"results": [{"index": at, "relevanceScore": (at + 1) / count} for at in order]}


async def _fail(
    send: Send, status: int, name: str, message: str, extra: dict[str, str] | None = None
) -> None:
    headers = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    await _whole(send, msgspec.json.encode({"message": message}), headers | (extra or {}), status)


async def _json(send: Send, document: Any) -> None:
    await _whole(send, msgspec.json.encode(document))


async def _whole(send: Send, body: bytes, extra: dict[str, str] | None = None, status: int = 200) -> None:
    headers = {"content-type": "application/json", "content-length": str(len(body)), **(extra or {})}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _read(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)

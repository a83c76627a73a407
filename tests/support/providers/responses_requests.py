"""Requests of clients of OpenAI's Responses API, and the chats that they become, each judged by OpenAI's own types."""

import json
from typing import Any

from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.responses.request import to_chat

CHAT: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)
RESPONSES: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsNonStreaming)
TRACES: list[dict[str, Any]] = [
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
    {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"], "results": None},
    {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "container_id": "c", "code": "1", "outputs": []},
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AA=="},
    {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": []},
    {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "f", "arguments": "{}"},
    {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
    {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "f", "arguments": "{}", "output": "1"},
]  # fmt: skip
"""Items of what OpenAI's own servers did for an answer."""


def body_of(given_input: Any = "hello", **fields: Any) -> JsonBody:
    return parse_json(json.dumps({"model": "m", "input": given_input, **fields}).encode())


def chat_of(given_input: Any = "hello", **fields: Any) -> dict[str, Any]:
    """The chat request, after OpenAI's types have accepted both sides."""
    body = body_of(given_input, **fields)
    RESPONSES.validate_json(body.raw_body)
    chat = to_chat(body).raw_body
    CHAT.validate_json(chat)
    found: dict[str, Any] = json.loads(chat)
    return found

"""The description of the API: the framework's of what is asked, and ours of what is answered."""

from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.log_ingest.routes.api import LogDetail
from services.log_ingest.summary import LogSummary

_DESCRIPTION: Final = (
    "Money is a decimal string in US dollars, times are RFC 3339 in UTC. Every error has the body "
    '`{"error": {"message", "type", "param", "code"}}`.'
)
_SECURITY: Final = {"adminToken": {"type": "http", "scheme": "bearer", "description": "The admin token"}}
_TEXT: Final = {"type": "string"}
_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": _TEXT,
                "type": _TEXT,
                "param": {"type": ["string", "null"]},
                "code": _TEXT,
            },
        }
    },
}
_ERRORS: Final = {
    "400": "A parameter is wrong, or the question takes too much time or memory.",
    "401": "No or a wrong admin token.",
    "503": "The log store cannot be reached.",
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of `app`."""
    schema = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    (summary, detail), components = msgspec.json.schema_components(
        [LogSummary, LogDetail], ref_template="#/components/schemas/{name}"
    )
    page = {
        "type": "object",
        "required": ["items", "next_cursor"],
        "properties": {
            "items": {"type": "array", "items": summary},
            "next_cursor": {"type": ["string", "null"], "description": "`cursor` of the next page."},
        },
    }
    schema["components"] = {"schemas": components | {"Error": _ERROR}, "securitySchemes": _SECURITY}
    schema["security"] = [{"adminToken": []}]
    answers = {"/api/logs": page, "/api/logs/{request_id}": detail}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            operation["responses"] = _answers(answers.get(path, {"type": "object"}))
    schema["paths"]["/api/logs/{request_id}"]["get"]["responses"]["404"] = _error("There is no such request.")
    return schema


def _answers(schema: dict[str, Any]) -> dict[str, Any]:
    good = {"description": "The answer.", "content": {"application/json": {"schema": schema}}}
    return {"200": good} | {status: _error(meaning) for status, meaning in _ERRORS.items()}


def _error(meaning: str) -> dict[str, Any]:
    return {
        "description": meaning,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }

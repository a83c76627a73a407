"""How the API says no: one shape, `{"error": {"message", "type", "param", "code"}}`."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.log_ingest.store.port import QueryTooExpensive, StoreRefused
from shared.errors import StoreUnavailable
from shared.web.paths import allowed_methods

STORE_AWAY: Final = (
    "The log store cannot be reached right now, so logs cannot be shown. Requests are still served and logged; "
    "they appear here as soon as the store is back."
)
TOO_EXPENSIVE: Final = (
    "This question takes more time or memory than one query may use. Narrow the time range or the filters."
)
_RETRY_AFTER: Final = {"retry-after": "5"}
_HTTP_CODES: Final = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def not_logged_in() -> ApiError:
    return ApiError(
        401,
        "This needs the admin token: send it as `Authorization: Bearer <admin token>`, or log in at /login.",
        kind="authentication_error",
        code="invalid_admin_token",
    )


def refusal_text(error: Exception) -> str:
    """Only administrators read it, so the store's own reason stands in it."""
    return f"The log store refused the query: {error}"


def first_fault(errors: list[Any]) -> tuple[str, str]:
    """The parameter and the sentence of the first validation error."""
    first = errors[0]
    place = [str(part) for part in first["loc"] if part not in {"query", "path"}]
    name = {"from_": "from"}.get(place[0], place[0]) if place else ""
    text = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return name, f"{name} is not a filter of this list."
    text = text[:1].lower() + text[1:]
    return name, (f"{name} is wrong: {text}." if name else f"The filters are wrong: {text}.")


def add_error_answers(app: FastAPI) -> None:
    """Give every fault that can leave a route its answer."""

    async def api_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return JSONResponse(error.body, error.status)

    async def wrong_input(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError | ValidationError)
        param, message = first_fault(list(error.errors()))
        return await api_error(request, ApiError(400, message, param=param or None, code="invalid_parameter"))

    async def store_away(_: Request, error: Exception) -> Response:
        answer = ApiError(503, STORE_AWAY, kind="server_error", code=StoreUnavailable.code)
        return JSONResponse(answer.body, 503, _RETRY_AFTER)

    async def too_expensive(_: Request, error: Exception) -> Response:
        return JSONResponse(ApiError(400, TOO_EXPENSIVE, code=QueryTooExpensive.code).body, 400)

    async def refused(_: Request, error: Exception) -> Response:
        answer = ApiError(500, refusal_text(error), kind="server_error", code=StoreRefused.code)
        return JSONResponse(answer.body, 500)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _HTTP_CODES.get(error.status_code, "http_error")
        headers = error.headers
        if error.status_code == 405:  # the framework names the methods of one route only
            headers = {"allow": allowed_methods(request.app.routes, request.scope)}
        body = ApiError(error.status_code, str(error.detail), code=code).body
        return JSONResponse(body, error.status_code, headers)

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(RequestValidationError, wrong_input)
    app.add_exception_handler(ValidationError, wrong_input)
    app.add_exception_handler(StoreUnavailable, store_away)
    app.add_exception_handler(QueryTooExpensive, too_expensive)
    app.add_exception_handler(StoreRefused, refused)
    app.add_exception_handler(HTTPException, http_error)

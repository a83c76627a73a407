"""What a caller of the admin API sees when something is wrong: always `{"error": {message, type, param, code}}`."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from shared.config_file import field_path, readable
from shared.errors import Conflict, FinOpsError, Retryable
from shared.web.paths import allowed_methods


class ErrorBody(BaseModel):
    """One error. `code` is stable; `message` is a sentence for people; `param` names the field at fault."""

    message: str
    type: str
    param: str | None = None
    code: str


class ErrorAnswer(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorBody


class ApiError(Exception):
    """A request that cannot be fulfilled, with the status and the stable code of its answer."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers


def invalid(param: str, message: str) -> ApiError:
    """400: a field holds a value that cannot be accepted."""
    return ApiError(400, "invalid_value", message, param=param)


def not_found(what: str, identifier: str) -> ApiError:
    """404: nothing has this id."""
    return ApiError(404, "not_found", f"There is no {what} with the id {identifier!r}.", param="id")


def answer(error: ApiError) -> JSONResponse:
    """The response for an error."""
    body = ErrorAnswer(
        error=ErrorBody(
            message=error.message, type=_type_of(error.status), param=error.param, code=error.code
        )
    )
    return JSONResponse(body.model_dump(), error.status, headers=dict(error.headers or {}))


def install_error_handlers(app: FastAPI) -> None:
    """Every error of `app`, the framework's own included, answers in the one shape."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(FinOpsError, _domain_error)
    app.add_exception_handler(Exception, _fault)


def _type_of(status: int) -> str:
    if status == 401:
        return "authentication_error"
    if status >= 500:
        return "server_error"
    return "invalid_request_error"


async def _api_error(_: Request, error: Exception) -> JSONResponse:
    return answer(cast(ApiError, error))


async def _validation_error(_: Request, error: Exception) -> JSONResponse:
    return answer(validation_error(cast(RequestValidationError, error).errors()))


def validation_error(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """The first of pydantic's findings as a 400 that names the field."""
    first = errors[0]
    location = tuple(first["loc"])
    param = field_path(location[1:] if location and location[0] in {"body", "query", "path"} else location)
    kind = str(first["type"])
    if kind == "extra_forbidden":
        return ApiError(400, "unknown_field", f"`{param}` is not a known field.", param=param)
    if kind == "missing" and param:
        return ApiError(400, "missing_field", f"`{param}` is missing.", param=param)
    if kind == "json_invalid" or (not param and kind in {"missing", "model_attributes_type"}):
        return ApiError(400, "invalid_json", "The body must be a JSON object, sent as application/json.")
    subject = f"`{param}`" if param else "The body"
    return ApiError(400, "invalid_value", f"{subject} {readable(str(first['msg']))}.", param=param or None)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    http = cast(HTTPException, error)
    headers = http.headers
    if http.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # the framework names the methods of one route only
        headers = {"allow": allowed_methods(request.app.routes, request.scope)}
    phrase = HTTPStatus(http.status_code).phrase
    is_large = http.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "body_too_large" if is_large else phrase.lower().replace(" ", "_")
    message = http.detail if http.detail and http.detail != phrase else f"{phrase}."
    return answer(ApiError(http.status_code, code, message, headers=headers))


async def _fault(_: Request, __: Exception) -> JSONResponse:
    """A fault of ours. The server logs it: the framework raises it again after this answer."""
    return answer(
        ApiError(500, FinOpsError.code, "Something went wrong here; the log of the service says what.")
    )


async def _domain_error(_: Request, error: Exception) -> JSONResponse:
    known = cast(FinOpsError, error)
    if isinstance(known, Conflict):
        return answer(ApiError(409, known.code, str(known)))
    if isinstance(known, Retryable):
        return answer(ApiError(503, known.code, f"{known} Try again.", headers={"retry-after": "1"}))
    return answer(ApiError(500, known.code, str(known)))

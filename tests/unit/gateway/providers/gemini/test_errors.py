"""Google's errors in our terms."""

import json
from typing import Any

import pytest

from services.gateway.providers.gemini.errors import error_of_answer
from tests.support.providers.gemini import status

KEY_INFO = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
DELAY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}


@pytest.mark.parametrize(
    ("http", "document", "expected"),
    [
        (400, status(400, "No.", "INVALID_ARGUMENT"), (400, "INVALID_ARGUMENT", False)),
        (400, status(400, "Key.", "INVALID_ARGUMENT", [KEY_INFO]), (401, "INVALID_ARGUMENT", True)),
        (429, [status(429, "Slow.", "RESOURCE_EXHAUSTED")], (429, "RESOURCE_EXHAUSTED", True)),
        (503, status(503, "Full.", "UNAVAILABLE"), (503, "UNAVAILABLE", True)),
        (500, [], (500, "", True)),
        (404, "nothing", (404, "", False)),
        (502, {"error": "text"}, (502, "", True)),
    ],
)
def test_status_code_and_whether_to_try_again(
    http: int, document: Any, expected: tuple[int, str, bool]
) -> None:
    error = error_of_answer(http, {}, json.dumps(document).encode())

    assert (error.status, error.upstream_code, error.retryable) == expected
    assert error.message


def test_the_delay_that_google_asks_for() -> None:
    body = json.dumps(status(429, "Slow.", "RESOURCE_EXHAUSTED", [DELAY])).encode()

    assert error_of_answer(429, {}, body).retry_after_s == 34.5
    assert error_of_answer(429, {"retry-after": "2"}, body).retry_after_s == 2


@pytest.mark.parametrize(
    "body", [b"", b"<html></html>", b"\xff\xfe", b"null", b"[[]]", b'{"error":{"code":"x"}}']
)
def test_any_body_gives_an_error(body: bytes) -> None:
    assert error_of_answer(500, {}, body).message

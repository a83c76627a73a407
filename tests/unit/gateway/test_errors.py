"""One table of errors: every code in use is in it, every line of it is fit to be read by people."""

import ast
import json
from pathlib import Path
from typing import get_args

import pytest

import services.gateway
from services.gateway.errors import ERRORS, ClientError, error_body
from services.gateway.providers.errors import UpstreamError
from shared.governance.admission import RefusalCode

PACKAGE = Path(services.gateway.__file__).parent


def codes_raised() -> set[str]:
    """First arguments of every `ClientError(...)` in the gateway, conditional ones included."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ClientError" and node.args:
                found |= {
                    part.value
                    for part in ast.walk(node.args[0])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                }
    return found


def test_every_code_that_is_raised_is_in_the_table_and_the_other_way_round() -> None:
    by_variable = {*get_args(RefusalCode), "model_required"}
    raised = codes_raised() | by_variable | {UpstreamError.code}

    assert raised - set(ERRORS) == set()
    assert set(ERRORS) - raised == set()


@pytest.mark.parametrize("code", ERRORS)
def test_each_error_is_a_real_status_and_a_sentence(code: str) -> None:
    spec = ERRORS[code]

    assert 400 <= spec.status < 600
    assert spec.message[0].isupper()
    assert spec.message.endswith(".")
    assert spec.type.endswith("_error") or spec.type == "insufficient_quota"


def test_the_body_has_openais_shape() -> None:
    error = ClientError("model_not_found", "No such model.", param="model")

    assert json.loads(error_body(error)) == {
        "error": {
            "message": "No such model.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


def test_a_providers_own_code_is_shown_and_ours_is_recorded() -> None:
    error = ClientError("provider_bad_request", "Too long.", shown_code="context_length_exceeded")

    assert json.loads(error_body(error))["error"]["code"] == "context_length_exceeded"
    assert error.code == "provider_bad_request"


def test_a_code_that_is_not_in_the_table_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        ClientError("made_up")

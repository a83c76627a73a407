"""What kind of file a request holds: by its bytes, by what is declared, by its name; the same for every provider."""

import base64
from typing import Any

import pytest

from services.gateway.providers.chat.images import UNKNOWN_TYPE, Fetched, attached
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.operations import Operation
from tests.support.providers.judges import adapter_of, complaints, target_of
from tests.unit.gateway.providers.bedrock.build import chat_body

PDF = b"%PDF-1.7 ..."
BARE = base64.b64encode(PDF).decode()
TEXT = base64.b64encode(b"hello").decode()
ADDRESS = "https://example.org/a"


@pytest.mark.parametrize(
    ("text", "filename", "kind"),
    [
        (f"data:application/pdf;base64,{BARE}", None, "application/pdf"),
        (f"data:application/octet-stream;base64,{BARE}", None, "application/pdf"),
        (f"data:;base64,{BARE}", "a.txt", "application/pdf"),
        (BARE, None, "application/pdf"),
        (f" {BARE}\n", "a.bin", "application/pdf"),
        (f"data:text/plain;base64,{TEXT}", "a.pdf", "text/plain"),
        (f"data:application/octet-stream;base64,{TEXT}", "a.csv", "text/csv"),
        (TEXT, "notes.txt", "text/plain"),
        (TEXT, "notes", UNKNOWN_TYPE),
        (ADDRESS, None, "application/pdf"),
    ],
)
def test_a_file_is_what_its_bytes_say(text: str, filename: str | None, kind: str) -> None:
    found = attached(text, "file_data", {ADDRESS: Fetched("binary/octet-stream", PDF)}, filename)

    assert found is not None
    assert found.media_type == kind
    assert base64.b64decode(found.base64) == found.data


@pytest.mark.parametrize("head", ["", "data:application/pdf;base64,"])
def test_base64_of_every_kind_is_made_plain(head: str) -> None:
    data = PDF + bytes(range(256))
    kinds = (
        base64.b64encode(data),
        base64.encodebytes(data),
        base64.encodebytes(data).replace(b"\n", b"\r\n"),
        base64.urlsafe_b64encode(data),
        base64.urlsafe_b64encode(data).rstrip(b"="),
    )
    for text in kinds:
        found = attached(head + text.decode(), "file_data", {})
        assert found is not None
        assert (found.data, found.base64) == (data, base64.b64encode(data).decode())


@pytest.mark.parametrize("address", [ADDRESS, "gs://bucket/a.pdf", "HTTP://example.org/a"])
def test_an_address_is_no_file_until_it_is_fetched(address: str) -> None:
    assert attached(address, "file_data", {}) is None


@pytest.mark.parametrize("text", ["data:application/pdf,plain", "no base64 at all", "%"])
def test_what_is_no_file_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        attached(text, "messages[0].file", {})

    assert refused.value.param == "messages[0].file"


@pytest.mark.parametrize("kind", ["anthropic", "bedrock", "gemini", "vertex"])
@pytest.mark.parametrize("data", [BARE, f"data:application/octet-stream;base64,{BARE}"])
def test_every_provider_that_reads_them_gets_a_pdf_as_one(kind: str, data: str) -> None:
    file: dict[str, Any] = {"type": "file", "file": {"file_data": data, "filename": "a.pdf"}}
    body = chat_body({"role": "user", "content": [{"type": "text", "text": "Read"}, file]})

    request = adapter_of(kind).build(Operation.CHAT, target_of(kind), body).request

    assert isinstance(request.body, bytes)
    assert b'"application/pdf"' in request.body or b'"pdf"' in request.body
    assert BARE.encode() in request.body
    assert complaints(kind, request) == []

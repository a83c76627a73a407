"""What clients send and providers answer that is not what it should be, through a whole gateway."""

import gzip
import json
from pathlib import Path

import aiohttp
import pytest

from tests.support.gateway import DEMO, MOCK_PRICE, mock_cost, mock_provider, running_gateway, virtual_key
from tests.support.upstream import running_upstream

MODEL = "mock/gpt-4o-mini"


async def test_a_body_in_another_form_than_json_is_refused_saying_which(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, DEMO) as gateway:
        said = {"model": "demo/echo", "messages": [{"role": "user", "content": "hi"}]}
        packed = gzip.compress(json.dumps(said).encode())
        for path in ("/v1/chat/completions", "/v1/images/edits"):
            headers = {"content-encoding": "gzip", "content-type": "multipart/form-data; boundary=x"}
            async with gateway.http.post(path, data=packed, headers=headers) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (
                    415,
                    "unsupported_encoding",
                )
        with aiohttp.MultipartWriter("form-data") as form:
            form.append("demo/echo").set_content_disposition("form-data", name="model")
        async with gateway.http.post("/v1/chat/completions", data=form) as response:
            assert response.status == 400
            assert "takes JSON" in (await response.json())["error"]["message"]

        logged = await gateway.logged(3)
        assert [event.http_status for event in logged] == [415, 415, 400]
        assert bytes(logged[0].request).startswith(b'"[')


@pytest.mark.parametrize("cost_in_usage", [True, False])
async def test_usage_that_cannot_be_true_is_estimated_and_not_passed_on(
    tmp_path: Path, cost_in_usage: bool
) -> None:
    secret, key = virtual_key("told", cost_in_usage=cost_in_usage)
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE, key) as gateway,
    ):
        whole = await gateway.chat(MODEL, "mock(prompt=10; completion=7; fault=negative-usage)", secret)
        streamed = await gateway.chat(
            MODEL,
            "mock(prompt=10; completion=7; fault=negative-usage)",
            secret,
            stream=True,
            stream_options={"include_usage": True},
        )

        usage = (await whole.json())["usage"]
        text = await streamed.text()
        assert usage["estimated"] is True
        assert usage["prompt_tokens"] > 0
        assert "-10" not in text
        assert text.count('"usage":{') == 1
        for logged in await gateway.logged(2):
            assert logged.cost_basis == "estimated"
            assert logged.cost_nanos == mock_cost(logged.tokens.prompt, logged.tokens.completion)
            assert logged.tokens.prompt > 0
            assert logged.tokens.completion > 0

"""Which calls go through a proxy."""

from collections.abc import Mapping

import pytest
from yarl import URL

from services.gateway.upstream.proxies import Proxies
from shared.errors import ConfigurationError

BOTH = {"HTTPS_PROXY": "http://proxy:3128", "http_proxy": "plain:8080"}


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, "https://api.openai.com/v1", None),
        (BOTH, "https://api.openai.com/v1", "http://proxy:3128"),
        (BOTH, "http://models.internal/v1", "http://plain:8080"),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"}, "https://x.test", "http://b:2"),
        (BOTH, "http://localhost:11434/v1", None),
        (BOTH, "http://127.0.0.1:11434/v1", None),
        (BOTH, "http://[::1]:11434/v1", None),
        (BOTH | {"NO_PROXY": "other.test, .internal"}, "http://models.internal/v1", None),
        (BOTH | {"NO_PROXY": "internal"}, "http://models.internal/v1", None),
        (BOTH | {"no_proxy": "10.1.2.3"}, "http://10.1.2.3:8000/v1", None),
        (BOTH | {"no_proxy": "gpu:8000"}, "http://gpu:8000/v1", None),
        (BOTH | {"no_proxy": "gpu:8000"}, "http://gpu:9000/v1", "http://plain:8080"),
        (BOTH | {"no_proxy": "10.0.0.0/8,*.lan"}, "http://10.1.2.3:8000/v1", None),
        (BOTH | {"no_proxy": "10.0.0.0/8,*.lan"}, "http://gpu.lan:8000/v1", None),
        (BOTH | {"no_proxy": "10.0.0.0/8,*.lan"}, "http://11.1.2.3:8000/v1", "http://plain:8080"),
        (BOTH | {"no_proxy": "*"}, "https://api.openai.com/v1", None),
        (BOTH | {"no_proxy": "openai.com"}, "https://notopenai.com/v1", "http://proxy:3128"),
    ],
)
def test_which_proxy(environ: Mapping[str, str], url: str, proxy: str | None) -> None:
    found = Proxies(environ).proxy_for(URL(url))

    assert found == (None if proxy is None else URL(proxy))


@pytest.mark.parametrize("text", ["socks5://proxy:1080", "http://proxy:port", "http://"])
def test_what_is_no_http_proxy_is_a_wrong_setting(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Proxies({"HTTPS_PROXY": text})

    assert "HTTPS_PROXY" in str(caught.value)

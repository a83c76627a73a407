"""A mock OpenAI server that counts what it served. `python -m tests.support.upstream --port 0` prints its URL.

What it does is chosen by directives anywhere in the request (the model's name, a message) or in an `x-mock` header:

    mock(marker=abc; prompt=25; completion=14; fault=cut; delay_ms=20)

See `directives.py` for all of them, `app.py` for `GET /__served`, `GET /__requests` and `POST /__reset`.
"""

from tests.support.upstream.app import MockUpstream, Served
from tests.support.upstream.run import RunningUpstream, running_upstream, upstream_process

__all__ = ["MockUpstream", "RunningUpstream", "Served", "running_upstream", "upstream_process"]

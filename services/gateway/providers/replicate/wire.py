"""A prediction of Replicate's, as far as the gateway reads it."""

import re
from typing import Final, Literal

import msgspec

from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.usage import Usage
from shared.events import Tokens

Status = Literal["starting", "processing", "succeeded", "failed", "canceled", "aborted"]
_RUNNING: Final = ("starting", "processing")
_LOGGED_INPUT: Final = re.compile(r"input token count:\s*(\d+)", re.IGNORECASE)
_LOGGED_OUTPUT: Final = re.compile(r"output token count:\s*(\d+)", re.IGNORECASE)


class Metrics(msgspec.Struct):
    input_token_count: float | None = None
    output_token_count: float | None = None


class Urls(msgspec.Struct):
    stream: str | None = None


class Prediction(msgspec.Struct):
    """`output` is a text, pieces of a text, or addresses of files."""

    id: str
    status: Status
    output: str | list[str] | None = None
    error: str | None = None
    logs: str | None = None
    metrics: Metrics | None = None
    urls: Urls | None = None

    @property
    def running(self) -> bool:
        return self.status in _RUNNING

    @property
    def outputs(self) -> list[str]:
        if self.output is None:
            return []
        return [self.output] if isinstance(self.output, str) else self.output

    @property
    def failure(self) -> UpstreamError | None:
        """Why there is no answer; None when there is one, or may yet be."""
        if self.status == "succeeded" or self.running:
            return None
        message = self.error or f"The prediction was {self.status}."
        return UpstreamError(status=502, message=message, code=f"prediction_{self.status}", retryable=True)

    @property
    def usage(self) -> Usage | None:
        """Tokens that were counted, in the metrics or at least in the log; None when nobody counted."""
        metrics = self.metrics or Metrics()
        prompt, completion = metrics.input_token_count, metrics.output_token_count
        if prompt is None and completion is None:
            found_in, found_out = (
                pattern.search(self.logs or "") for pattern in (_LOGGED_INPUT, _LOGGED_OUTPUT)
            )
            if found_in is None and found_out is None:
                return None
            prompt = float(found_in[1]) if found_in else None
            completion = float(found_out[1]) if found_out else None
        return Usage(Tokens(prompt=int(prompt or 0), completion=int(completion or 0)))


prediction_decoder: Final = msgspec.json.Decoder(Prediction)

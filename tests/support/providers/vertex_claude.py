"""What Vertex AI has against a request for Claude: Anthropic's SDK judges the body, as AnthropicVertex sends it."""

from typing import Any

from anthropic._constants import ANTHROPIC_API_VERSION
from anthropic.types.beta.message_create_params import (
    MessageCreateParamsNonStreaming as WithBetas,
)
from anthropic.types.beta.message_create_params import (
    MessageCreateParamsStreaming as StreamedWithBetas,
)

from tests.support.providers.anthropic import judged
from tests.support.providers.sdk_types import problems

VERSIONS = (ANTHROPIC_API_VERSION, "vertex-2023-10-16")
"""The SDK's, and the one that older SDKs and Anthropic's own documentation give."""


def wrong_in(path: str, body: dict[str, Any]) -> str:
    """Why the request is refused; empty when it is good. What only betas know is judged where betas are asked for."""
    rest = dict(body)
    if rest.pop("anthropic_version", None) not in VERSIONS:
        return f"anthropic_version: must be one of {VERSIONS}"
    if "model" in rest:
        return "model: Extra inputs are not permitted"
    if bool(rest.get("stream")) is not path.endswith(":streamRawPredict"):
        return "stream: does not go with this method"
    asked = {"model": path.rpartition("/")[2].partition(":")[0], **rest}
    betas = asked.pop("anthropic_beta", None)
    if betas is None:
        try:
            judged("/messages", asked)
        except ValueError as problem:
            return str(problem)
        return ""
    if not isinstance(betas, list) or not all(isinstance(beta, str) and beta for beta in betas):
        return "anthropic_beta: must be a list of names"
    return "; ".join(problems(StreamedWithBetas if rest.get("stream") else WithBetas, asked))

"""The whole stream of a turn, byte for byte as each vendor would send it."""

from typing import Any

import msgspec

from services.gateway.providers.replicate.predictions import PREDICTION_EVENT
from tests.support.providers import anthropic, bedrock, cohere, gemini_pieces, replicate
from tests.support.providers.houses import MODELS
from tests.support.providers.mistral import FakeMistral
from tests.support.providers.openai_wire import FakeOpenAI
from tests.support.providers.quirks import QUIRKS
from tests.support.providers.script import Turn


def stream_of(kind: str, turn: Turn) -> bytes:
    match kind:
        case "anthropic":
            claude = anthropic.FakeAnthropic()
            claude.play(turn)
            return anthropic.wire(*claude.events)
        case "gemini" | "vertex":
            return gemini_pieces.stream_of(turn, MODELS[kind])
        case "bedrock":
            return b"".join(bedrock.stream_frames(bedrock.reply_of(turn, {})))
        case "cohere":
            command = cohere.FakeCohere()
            command.play(turn)
            return b"".join(cohere.framed(command.events))
        case "replicate":
            return _replicate(turn)
    fake: Any = FakeMistral() if kind == "mistral" else FakeOpenAI(QUIRKS[kind])
    fake.play(turn)
    body = {"model": MODELS[kind], "stream_options": {"include_usage": True}}
    return b"".join(fake.pieces("/chat/completions", body))


def _replicate(turn: Turn) -> bytes:
    """The stream itself, and the finished prediction that the gateway puts behind it."""
    fake = replicate.FakeReplicate()
    fake.play(turn)
    events = b"".join([*replicate.output_events(fake.output), replicate.done_event()])
    finished = {"id": replicate.ID, "status": "succeeded", "metrics": fake.metrics}
    return events + b"event: " + PREDICTION_EVENT + b"\ndata: " + msgspec.json.encode(finished) + b"\n\n"

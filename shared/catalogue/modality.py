"""What a model is for, guessed from its id: most providers' model lists do not say."""

import re
from functools import lru_cache
from typing import Final, Literal

Modality = Literal[
    "chat",
    "completion",
    "embedding",
    "image",
    "speech",
    "transcription",
    "moderation",
    "rerank",
    "video",
    "realtime",
    "ocr",
]
"""The last three have no endpoint here, and so no place in a list of models to chat with."""

_PATTERNS: Final[tuple[tuple[Modality, str], ...]] = (
    ("realtime", r"realtime|(?:^|-)live(?:-|$)|native-audio|nova(?:-\d)?-sonic|^grok-voice"),
    (
        "video",
        r"^sora|^veo-|nova-reel|-[ti]2v|(?:text|image)-to-video|imagine-video|^kling|^seedance|^hailuo|^ltx-video",
    ),
    ("ocr", r"^mistral-ocr"),
    ("rerank", r"rerank|ranker"),
    ("moderation", r"moderation|llama-guard|llama-prompt-guard|^shieldgemma"),
    (
        "embedding",
        r"embed|^bge-|^gte-|^e5-|^all-minilm|^all-mpnet|^voyage-|^multilingual-e5|^snowflake-arctic-e",
    ),
    ("transcription", r"whisper|transcri|^voxtral-mini-26|^parakeet|^canary-\d"),
    ("speech", r"(?:^|[-_/.])tts(?:$|[-_/.\d])|^playai-|orpheus|^kokoro|^eleven_|^aura-|^speech"),
    (
        "image",
        r"^(?:chat)?gpt-image|^dall-e|^imagen|^image$|^flux|stable-diffusion|^sdxl|^sd3|"
        r"image-gen|imagine-image|^grok-2-image|^qwen-image|^hidream|^seedream|^recraft|stability\.|nova-canvas",
    ),
    ("completion", r"^(?:davinci|babbage)-002$|^gpt-3\.5-turbo-instruct|^text-davinci|^codestral-fim"),
)
_RULES: Final = tuple((modality, re.compile(pattern)) for modality, pattern in _PATTERNS)


@lru_cache(maxsize=8192)
def modality_of(model_id: str) -> Modality:
    """The modality of a model by its id (with or without vendor prefix); "chat" when nothing says otherwise."""
    name = model_id.lower().rpartition("/")[2]
    for modality, pattern in _RULES:
        if pattern.search(name):
            return modality
    return "chat"

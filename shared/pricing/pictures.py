"""List prices of pictures, which genai-prices does not have: what each vendor charges for one, in US dollars.

| provider type | list, and when it said so |
| --- | --- |
| `openai` | OpenAI's price page, 2025-02; DALL·E was switched off there on 2026-05-12, not everywhere |
| `azure` | Azure OpenAI Service, 2025-02 |
| `bedrock` | Amazon Bedrock in the United States, 2025-03; Nova Canvas 2025-10 |
| `gemini` | Gemini API, 2025-02 (Imagen 3) and 2025-10 (Imagen 4) |
| `vertex` | Vertex AI, 2025-02 (Imagen to 3) and 2026-02 (Imagen 4) |
| `xai` | xAI, 2026-01 (Grok 2), 2026-03 (Imagine, Pro), 2026-05 (Quality) and 2026-08 (2.0) |
| `nebius` | Nebius AI Studio, 2025-12 |
| `replicate` | the models' own pages, 2025-11 |

What is not here has no price by the picture, or none that could be confirmed: what Replicate bills by the second or the
megapixel, its private deployments, Hugging Face's own inference, custom models at Bedrock. What gpt-image and Gemini draw
is priced by its tokens.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from shared.pricing.model import ModelPrice, Picture, PictureRate, rates

_NANOS_PER_USD: Final = 1_000_000_000


def _flat(usd: str) -> ModelPrice:
    """Every picture costs the same."""
    return ModelPrice(source="built-in", base=rates(), per_image_nanos=_nanos(usd))


def _by(usual: Picture, *listed: tuple[str, str, str]) -> ModelPrice:
    """`listed`: quality, size, price."""
    found = tuple(PictureRate(_nanos(usd), quality, size) for quality, size, usd in listed)
    dearest = max(rate.nanos for rate in found)
    return ModelPrice(
        source="built-in",
        base=rates(),
        per_image_nanos=dearest,
        picture_rates=found,
        usual_picture=usual,
    )


def _nanos(usd: str) -> int:
    return int(Decimal(usd) * _NANOS_PER_USD)


_SQUARE: Final = Picture("standard", "1024x1024")
_DALL_E_3: Final = _by(
    _SQUARE,
    ("standard", "1024x1024", "0.04"),
    ("standard", "1792x1024", "0.08"),
    ("hd", "1024x1024", "0.08"),
    ("hd", "1792x1024", "0.12"),
)
_TITAN: Final = _by(
    _SQUARE,
    ("standard", "512x512", "0.008"),
    ("standard", "1024x1024", "0.01"),
    ("premium", "512x512", "0.01"),
    ("premium", "1024x1024", "0.012"),
)

PRICES: Final[Mapping[str, Mapping[str, ModelPrice]]] = MappingProxyType(
    {
        "openai": {
            "dall-e-2": _by(
                Picture(size="1024x1024"),
                ("", "256x256", "0.016"),
                ("", "512x512", "0.018"),
                ("", "1024x1024", "0.02"),
            ),
            "dall-e-3": _DALL_E_3,
        },
        "azure": {"dall-e-3": _DALL_E_3},
        "bedrock": {
            "amazon.titan-image-generator-v1": _TITAN,
            "amazon.titan-image-generator-v2": _TITAN,
            "amazon.nova-canvas-v1": _by(
                _SQUARE,
                ("standard", "1024x1024", "0.04"),
                ("standard", "2048x2048", "0.06"),
                ("premium", "1024x1024", "0.06"),
                ("premium", "2048x2048", "0.08"),
            ),
            "stability.sd3-large-v1": _flat("0.08"),
            "stability.sd3-5-large-v1": _flat("0.08"),
            "stability.stable-image-core-v1": _flat("0.04"),
            "stability.stable-image-ultra-v1": _flat("0.14"),
        },
        "gemini": {
            "imagen-3.0-generate-002": _flat("0.03"),
            "imagen-4.0-fast-generate-001": _flat("0.02"),
            "imagen-4.0-generate-001": _flat("0.04"),
            "imagen-4.0-ultra-generate-001": _flat("0.06"),
        },
        "vertex": {
            "imagegeneration": _flat("0.02"),
            "imagen-3.0-fast-generate-001": _flat("0.02"),
            "imagen-3.0-generate-001": _flat("0.04"),
            "imagen-3.0-generate-002": _flat("0.04"),
            "imagen-4.0-fast-generate-001": _flat("0.02"),
            "imagen-4.0-generate-001": _flat("0.04"),
            "imagen-4.0-ultra-generate-001": _flat("0.06"),
        },
        "xai": {
            "grok-2-image": _flat("0.07"),
            "grok-2-image-1212": _flat("0.07"),
            "grok-2-image-latest": _flat("0.07"),
            "grok-imagine-image": _flat("0.02"),
            "grok-imagine-image-pro": _flat("0.07"),
            "grok-imagine-image-quality": _by(Picture(size="1k"), ("", "1k", "0.05"), ("", "2k", "0.07")),
            "grok-imagine-image-2.0": _by(
                Picture("medium", "1k"),
                ("low", "1k", "0.04"),
                ("low", "2k", "0.06"),
                ("medium", "1k", "0.06"),
                ("medium", "2k", "0.08"),
            ),
        },
        "nebius": {
            "black-forest-labs/flux-dev": _flat("0.007"),
            "black-forest-labs/flux-schnell": _flat("0.0013"),
            "stability-ai/sdxl": _flat("0.003"),
        },
        "replicate": {
            "black-forest-labs/flux-1.1-pro": _flat("0.04"),
            "black-forest-labs/flux-1.1-pro-ultra": _flat("0.06"),
            "black-forest-labs/flux-dev": _flat("0.025"),
            "black-forest-labs/flux-kontext-dev": _flat("0.025"),
            "black-forest-labs/flux-kontext-max": _flat("0.08"),
            "black-forest-labs/flux-kontext-pro": _flat("0.04"),
            "black-forest-labs/flux-schnell": _flat("0.003"),
            "google/imagen-4": _flat("0.04"),
            "google/imagen-4-fast": _flat("0.02"),
            "google/imagen-4-ultra": _flat("0.06"),
            "google/nano-banana-2-lite": _flat("0.034"),
            "ideogram-ai/ideogram-v2-turbo": _flat("0.05"),
            "ideogram-ai/ideogram-v3-balanced": _flat("0.06"),
            "ideogram-ai/ideogram-v3-quality": _flat("0.09"),
            "ideogram-ai/ideogram-v3-turbo": _flat("0.03"),
            "recraft-ai/recraft-20b": _flat("0.022"),
            "recraft-ai/recraft-20b-svg": _flat("0.044"),
            "recraft-ai/recraft-v3": _flat("0.04"),
            "recraft-ai/recraft-v3-svg": _flat("0.08"),
            "stability-ai/stable-diffusion-3": _flat("0.035"),
            "stability-ai/stable-diffusion-3.5-large": _flat("0.065"),
        },
    }
)
"""Provider type -> model -> price of its pictures."""

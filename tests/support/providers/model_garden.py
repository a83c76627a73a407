"""The Model Garden of a fake of Vertex AI: the lists of its publishers, as `publishers.models.list` gives them."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

Entry = dict[str, Any]
Query = dict[str, list[str]]

AT_MOST: Final = 3
"""In a page, whatever was asked for."""
_LIST: Final = re.compile(r"/v1beta1/publishers/([a-z-]+)/models")
_KNOWN: Final = {"pageSize", "pageToken", "filter", "orderBy", "view", "languageCode", "listAllVersions"}
DEPLOYED: Final[Entry] = {"deploy": {"modelDisplayName": "weights", "containerSpec": {"imageUri": "image"}}}
STUDIO: Final[Entry] = {"openGenerationAiStudio": {"references": {}}}


def publisher_in(path: str) -> str | None:
    """Whose list this is the address of."""
    match = _LIST.fullmatch(path)
    return match[1] if match is not None else None


def entry(
    publisher: str,
    model: str,
    version: str = "default",
    *,
    category: str = "PROPRIETARY",
    stage: str = "GA",
    actions: Entry | None = None,
) -> Entry:
    return {
        "name": f"publishers/{publisher}/models/{model}",
        "versionId": version,
        "openSourceCategory": category,
        "launchStage": stage,
        **({"supportedActions": actions} if actions is not None else {}),
    }


def _planted() -> dict[str, list[Entry]]:
    return {
        "google": [
            entry("google", "gemini-3-pro-preview", stage="PUBLIC_PREVIEW", actions=STUDIO),
            entry("google", "gemini-2.5-flash", actions=STUDIO),
            entry("google", "gemma-3", "gemma-3-1b", category="GOOGLE_OWNED_OSS", actions=DEPLOYED),
            entry("google", "text-embedding-005"),
            entry("google", "veo-3.0-generate-001"),
            entry("google", "imagen-4.0-generate-001", "001"),
            entry("google", "gemini-live-2.5-flash"),
        ],
        "anthropic": [
            entry("anthropic", "claude-opus-4-1", "20250805"),
            entry("anthropic", "claude-opus-5"),
        ],
        "mistralai": [entry("mistralai", "mistral-medium-3", "001")],
    }


@dataclass
class ModelGarden:
    """`closed`: the publishers that nobody here may look at. `fails`: nobody gets an answer from any."""

    models: dict[str, list[Entry]] = field(default_factory=_planted)
    closed: set[str] = field(default_factory=set)
    fails: bool = False

    def page(self, publisher: str, query: Query) -> tuple[int, Entry]:
        """Status and document of a part of a list."""
        if unknown := set(query) - _KNOWN:
            return 400, _status(400, f"Unknown name {unknown}", "INVALID_ARGUMENT")
        if self.fails:
            return 503, _status(503, "The service is currently unavailable.", "UNAVAILABLE")
        if publisher in self.closed:
            return 403, _status(403, "Permission denied on the publisher.", "PERMISSION_DENIED")
        at = int(query.get("pageToken", ["0=/"])[0].removesuffix("=/"))
        size = min(AT_MOST, int(query.get("pageSize", ["100"])[0]))
        models = self.models.get(publisher, [])
        page: Entry = {"publisherModels": models[at : at + size]} if models else {}
        if at + size < len(models):
            page["nextPageToken"] = f"{at + size}=/"
        return 200, page


def _status(code: int, message: str, name: str) -> Entry:
    return {"error": {"code": code, "message": message, "status": name, "details": []}}

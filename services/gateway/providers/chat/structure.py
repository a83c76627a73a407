"""An answer in JSON from a model that can only be asked for it in words."""

import msgspec

from services.gateway.providers.chat.request import JsonObjectFormat, JsonSchemaFormat

_ONLY_JSON = "Answer with one JSON object and nothing else: no text and no code fence around it."


def in_words(asked: JsonObjectFormat | JsonSchemaFormat) -> str:
    """What to tell the model."""
    if isinstance(asked, JsonObjectFormat) or not asked.json_schema.schema:
        return _ONLY_JSON
    about = f" {asked.json_schema.description}" if asked.json_schema.description else ""
    schema = msgspec.json.encode(asked.json_schema.schema).decode()
    return f"{_ONLY_JSON}{about} It must be valid by this JSON schema:\n{schema}"

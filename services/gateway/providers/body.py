"""The client's JSON body, decoded once into a thin view: every value keeps its raw bytes until somebody asks.

What nobody changes reaches the provider as the client wrote it.
"""

from collections.abc import Collection, Mapping, Set
from typing import Final, TypeVar

import msgspec

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.multipart import MultipartBody
from services.gateway.providers.stretches import LARGE_BYTES, searchable

T = TypeVar("T")

_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)
_whole_number: Final = msgspec.json.Decoder(int, strict=False)
"""Many servers take `"5"` and `5.0` as well, and it is for them to say."""
_truth: Final = msgspec.json.Decoder(bool)
_NULL: Final = b"null"
_LIMITS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")


class StreamOptions(msgspec.Struct, omit_defaults=True):
    """The one stream option that the gateway acts on."""

    include_usage: bool | None = None


_stream_options: Final = msgspec.json.Decoder(StreamOptions)


class JsonBody:
    """A JSON object sent by a client. Fields are read on demand; a wrong type raises BadRequest naming the field."""

    __slots__ = ("_fields", "model", "raw_body", "stream")

    def __init__(self, raw_body: bytes, fields: dict[str, msgspec.Raw]) -> None:
        self.raw_body = raw_body
        self._fields = fields
        model = self.text("model")
        if not model:
            raise BadRequest("You must name a model.", param="model")
        self.model: str = model
        self.stream: bool = self._typed("stream", _truth, "true or false") or False

    @property
    def content_type(self) -> str:
        return "application/json"

    @property
    def size_bytes(self) -> int:
        return len(self.raw_body)

    @property
    def searchable(self) -> bytes:
        """The body for searches, which may lack the insides of its payloads."""
        return self.raw_body

    @property
    def include_usage(self) -> bool:
        """The client asked for the usage chunk of a stream."""
        options = self._typed("stream_options", _stream_options, "an object")
        return bool(options and options.include_usage)

    @property
    def max_tokens(self) -> int | None:
        """The client's limit on completion tokens, under any of its names."""
        for name in _LIMITS:
            limit = self.number(name)
            if limit is not None:
                return limit
        return None

    @property
    def n(self) -> int:
        """How many answers (or images) are asked for; at least 1."""
        return self.number("n") or 1

    @property
    def user(self) -> str:
        return self.text("user") or ""

    @property
    def names(self) -> Set[str]:
        return self._fields.keys()

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def raw(self, name: str) -> bytes | None:
        """The JSON of one field; None when it is missing or null."""
        value = self._fields.get(name)
        if value is None:
            return None
        data = bytes(value)
        return None if data == _NULL else data

    def text(self, name: str) -> str | None:
        return self._typed(name, _text, "a string")

    def number(self, name: str) -> int | None:
        """A whole number that is not negative."""
        value = self._typed(name, _whole_number, "a whole number")
        if value is not None and value < 0:
            raise BadRequest(f"`{name}` must not be negative.", param=name)
        return value

    def with_changes(self, changes: Mapping[str, bytes], drop: Collection[str] = ()) -> bytes:
        """The body with these fields set to this JSON, and without the dropped ones. All else stays as it came."""
        fields = {name: value for name, value in self._fields.items() if name not in drop}
        for name, value in changes.items():
            fields[name] = msgspec.Raw(value)
        return msgspec.json.encode(fields)

    def without(self, name: str) -> "JsonBody":
        """The same body as if the client had not sent this field."""
        return type(self)(self.raw_body, {field: raw for field, raw in self._fields.items() if field != name})

    def encoded(self, value: str) -> bytes:
        """A text in this body's own notation, for `with_changes`."""
        return msgspec.json.encode(value)

    def _typed(self, name: str, decoder: msgspec.json.Decoder[T], expected: str) -> T | None:
        data = self.raw(name)
        if data is None:
            return None
        try:
            return decoder.decode(data)
        except msgspec.DecodeError as error:
            raise BadRequest(f"`{name}` must be {expected}.", param=name) from error


class LargeJsonBody(JsonBody):
    """The same, where each copy of a field and each search of the body takes longer than everything else."""

    __slots__ = ("_raws", "_searchable")

    def __init__(self, raw_body: bytes, fields: dict[str, msgspec.Raw]) -> None:
        self._raws: dict[str, bytes | None] = {}
        self._searchable = b""
        super().__init__(raw_body, fields)

    @property
    def searchable(self) -> bytes:
        if not self._searchable:
            self._searchable = searchable(self.raw_body)
        return self._searchable

    def raw(self, name: str) -> bytes | None:
        if name not in self._raws:
            self._raws[name] = super().raw(name)
        return self._raws[name]

    def with_changes(self, changes: Mapping[str, bytes], drop: Collection[str] = ()) -> bytes:
        # Joining bytes is the one way to copy them that lets other threads work.
        pieces: list[bytes] = []
        for name in dict.fromkeys((*(name for name in self._fields if name not in drop), *changes)):
            value = changes[name] if name in changes else self.raw(name) or _NULL
            pieces += (b"," if pieces else b"{", msgspec.json.encode(name), b":", value)
        return b"".join((*pieces, b"}")) if pieces else b"{}"


ParsedBody = JsonBody | MultipartBody


def parse_json(raw_body: bytes) -> JsonBody:
    """Raises BadRequest unless this is a JSON object in UTF-8 that names a model."""
    try:
        if not raw_body.isascii():
            raw_body.decode()
        kind = JsonBody if len(raw_body) <= LARGE_BYTES else LargeJsonBody
        return kind(raw_body, _fields.decode(raw_body))
    except UnicodeDecodeError as error:
        raise BadRequest("The body must be JSON in UTF-8.") from error
    except msgspec.ValidationError as error:
        raise BadRequest("The body must be a JSON object.") from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from error
    except RecursionError as error:
        raise BadRequest("The body is nested too deeply.") from error

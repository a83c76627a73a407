"""The client's multipart/form-data body: its parts are found, small ones can be changed, files pass untouched."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.gateway.providers.errors import BadRequest

TEXT_LIMIT: Final = 1_048_576
MAX_PARTS: Final = 256


@dataclass(slots=True)
class Part:
    """One part. `start` and `end` are the place of its content in the whole body."""

    head: bytes = b""
    """Its header lines, each ended by CRLF."""
    name: str = ""
    filename: str | None = None
    start: int = 0
    end: int = 0

    @property
    def is_file(self) -> bool:
        return self.filename is not None

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


@dataclass(slots=True)
class _Collector:
    """Receives the parser's callbacks. The body is written in one piece, so its offsets are places in the body."""

    parts: list[Part] = field(default_factory=list)
    whole: bool = False
    """The closing boundary was seen."""
    _name: bytes = b""

    def begin(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise BadRequest(f"The form has more than {MAX_PARTS} parts.")
        self.parts.append(Part())

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name = data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        part, value = self.parts[-1], data[start:end]
        part.head += self._name + b": " + value + b"\r\n"
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            part.name = options.get(b"name", b"").decode("utf-8", "replace")
            filename = options.get(b"filename")
            part.filename = None if filename is None else filename.decode("utf-8", "replace")

    def content(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        if not part.end:
            part.start = start
        part.end = end

    def finish(self) -> None:
        self.whole = True


class MultipartBody:
    """A form sent by a client. Field reads raise BadRequest naming the field when its type is wrong."""

    __slots__ = ("_boundary", "_parts", "content_type", "model", "raw_body", "stream")

    def __init__(self, raw_body: bytes, content_type: str, boundary: bytes, parts: list[Part]) -> None:
        self.raw_body = raw_body
        self.content_type = content_type
        self._boundary = boundary
        self._parts = parts
        model = self.text("model")
        if not model:
            raise BadRequest("You must name a model.", param="model")
        self.model: str = model
        self.stream: bool = (self.text("stream") or "").lower() == "true"

    @property
    def size_bytes(self) -> int:
        return len(self.raw_body)

    @property
    def include_usage(self) -> bool:
        """Forms have no stream options."""
        return False

    @property
    def max_tokens(self) -> int | None:
        return None

    @property
    def n(self) -> int:
        return self.number("n") or 1

    @property
    def user(self) -> str:
        return self.text("user") or ""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(part.name for part in self._parts)

    @property
    def files(self) -> tuple[Part, ...]:
        """The file parts in order; `image` and `image[]` alike."""
        return tuple(part for part in self._parts if part.is_file)

    def content_of(self, part: Part) -> bytes:
        return self.raw_body[part.start : part.end]

    def __contains__(self, name: str) -> bool:
        return any(part.name == name for part in self._parts)

    def text(self, name: str) -> str | None:
        """The value of a plain field; None when there is none."""
        for part in self._parts:
            if part.name == name and not part.is_file:
                if part.size_bytes > TEXT_LIMIT:
                    raise BadRequest(f"`{name}` is too long.", param=name)
                try:
                    return self.content_of(part).decode()
                except UnicodeDecodeError as error:
                    raise BadRequest(f"`{name}` must be text in UTF-8.", param=name) from error
        return None

    def number(self, name: str) -> int | None:
        text = self.text(name)
        if text is None or not text.strip():
            return None
        if not text.strip().isdecimal():
            raise BadRequest(f"`{name}` must be a whole number.", param=name)
        return int(text)

    def with_changes(self, changes: Mapping[str, bytes], drop: Collection[str] = ()) -> bytes:
        """The form with these plain fields set, and without the dropped ones. File contents are copied once."""
        view = memoryview(self.raw_body)
        missing = dict(changes)
        pieces: list[bytes | memoryview] = []
        for part in self._parts:
            if part.name in drop:
                continue
            new = None if part.is_file else changes.get(part.name)
            content = view[part.start : part.end] if new is None else new
            pieces += (b"--", self._boundary, b"\r\n", part.head, b"\r\n", content, b"\r\n")
            missing.pop(part.name, None)
        for name, value in missing.items():
            head = b'Content-Disposition: form-data; name="' + name.encode() + b'"\r\n'
            pieces += (b"--", self._boundary, b"\r\n", head, b"\r\n", value, b"\r\n")
        pieces += (b"--", self._boundary, b"--\r\n")
        return b"".join(pieces)

    def without(self, name: str) -> "MultipartBody":
        """The same form as if the client had not sent this field."""
        parts = [part for part in self._parts if part.name != name]
        return MultipartBody(self.raw_body, self.content_type, self._boundary, parts)

    def encoded(self, value: str) -> bytes:
        """A text in this body's own notation, for `with_changes`."""
        return value.encode()

    def summary(self) -> dict[str, object]:
        """The fields, and for files their name and size: what the log keeps of a form, whatever stands in it."""
        shown: dict[str, object] = {}
        for part in self._parts:
            value: object = {"file": part.filename, "bytes": part.size_bytes}
            if not part.is_file:
                value = self.content_of(part)[:TEXT_LIMIT].decode("utf-8", "replace")
            known = shown.get(part.name)
            if known is None:
                shown[part.name] = value
            elif isinstance(known, list):
                known.append(value)
            else:
                shown[part.name] = [known, value]
        return shown


def parse_multipart(raw_body: bytes, content_type: str) -> MultipartBody:
    """Raises BadRequest unless this is a whole form that names a model."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise BadRequest("The body must be multipart/form-data with a boundary.")
    seen = _Collector()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": seen.begin,
            "on_header_field": seen.header_name,
            "on_header_value": seen.header_value,
            "on_part_data": seen.content,
            "on_end": seen.finish,
        },
    )
    try:
        parser.write(raw_body)
    except FormParserError as error:
        raise BadRequest(f"The form is malformed: {error}.") from error
    if not seen.whole:
        raise BadRequest("The form is cut off: its closing boundary is missing.")
    return MultipartBody(raw_body, content_type, boundary, seen.parts)

"""botocore's own description of the services, as the judge of requests, and as the source of answers and frames."""

import base64
import binascii
import struct
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from botocore.model import OperationModel, Shape
from botocore.serialize import create_serializer
from botocore.session import Session
from botocore.validate import ParamValidator

_validator = ParamValidator()


@lru_cache
def operation(service: str, name: str) -> OperationModel:
    return Session().get_service_model(service).operation_model(name)


def problems(shape: Shape, params: Any) -> str:
    """What botocore's validator has against these parameters; empty when they are good."""
    report = _validator.validate(params, shape)
    return str(report.generate_report()) if report.has_errors() else ""


def unknown_members(shape: Shape, value: Any, where: str = "") -> list[str]:
    """Fields that the service's model does not have, and values beyond its patterns' enums."""
    if (
        shape.type_name == "structure"
        and isinstance(value, dict)
        and not getattr(shape, "is_document_type", False)
    ):
        found = [f"{where}.{name}" for name in value if name not in shape.members]
        if getattr(shape, "is_tagged_union", False) and len(value) != 1:
            found.append(f"{where}: {len(value)} members of a union")
        for name, item in value.items():
            if name in shape.members:
                found += unknown_members(shape.members[name], item, f"{where}.{name}")
        return found
    if shape.type_name == "list" and isinstance(value, list):
        return [
            place
            for at, item in enumerate(value)
            for place in unknown_members(shape.member, item, f"{where}[{at}]")
        ]
    enum = getattr(shape, "enum", None)
    if enum and value not in enum:
        return [f"{where}: {value!r}"]
    return []


def params_of(shape: Shape, value: Any) -> Any:
    """JSON as parameters: what the model calls a blob is base64 in JSON and bytes in parameters."""
    return _walk(shape, value, lambda text: base64.b64decode(text, validate=True))


def json_of(shape: Shape, value: Any) -> Any:
    """Parameters as JSON. Raises ValueError for what the model does not allow."""
    wrong = problems(shape, value) or "; ".join(unknown_members(shape, value))
    if wrong:
        raise ValueError(wrong)
    return _walk(shape, value, lambda data: base64.b64encode(data).decode())


def serialized(service: str, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """The HTTP request that botocore would send: `url_path`, `method`, `headers`, `body`."""
    model = operation(service, name)
    wrong = problems(model.input_shape, params) or "; ".join(unknown_members(model.input_shape, params))
    if wrong:
        raise ValueError(wrong)
    serializer = create_serializer(model.service_model.protocol, include_validation=True)
    return dict(serializer.serialize_to_request(params, model))


def in_headers(shape: Shape, headers: Mapping[str, str]) -> dict[str, str]:
    """The parameters of an operation that stand in headers."""
    places = {name: member.serialization for name, member in shape.members.items()}
    return {
        name: headers[place["name"].lower()]
        for name, place in places.items()
        if place.get("location") == "header" and place["name"].lower() in headers
    }


def model_path(model: str, action: str) -> str:
    return f"/model/{quote(model, safe='-._~')}/{action}"


def model_in(path: str) -> str:
    return unquote(path.split("/")[2])


def event_frame(name: str, params: dict[str, Any], stream: str = "ConverseStream") -> bytes:
    """One event of an operation that streams, checked against the service's model."""
    events = operation("bedrock-runtime", stream).get_event_stream_output()
    payload = msgspec.json.encode(json_of(events.members[name], params))
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, payload)


def part_frame(part: bytes) -> bytes:
    """A part of a model's own stream."""
    return event_frame("chunk", {"bytes": part}, "InvokeModelWithResponseStream")


def exception_frame(name: str, message: str) -> bytes:
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, msgspec.json.encode({"message": message}))


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """AWS's framing: two lengths and their checksum, headers, payload, a checksum of it all."""
    head = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    prelude += struct.pack("!I", binascii.crc32(prelude))
    body = prelude + head + payload
    return body + struct.pack("!I", binascii.crc32(body))


def _walk(shape: Shape, value: Any, blob: Any) -> Any:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict) and not getattr(shape, "is_document_type", False):
        members = shape.members
        return {
            name: _walk(members[name], item, blob) if name in members else item
            for name, item in value.items()
        }
    if kind == "list" and isinstance(value, list):
        return [_walk(shape.member, item, blob) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {name: _walk(shape.value, item, blob) for name, item in value.items()}
    if kind == "blob":
        return blob(value)
    return value.isoformat() if isinstance(value, datetime) else value

"""JSON for the simulator's resources."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec
from klein import Klein
from klein.resource import KleinResource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

T = TypeVar("T")


class ErrorResponse(HTTPException):
    """A response other than 200, with the JSON value to send. A route raises it, and Klein sends it."""

    def __init__(self, status: int, value: object) -> None:
        body = Response(json.dumps(value) + "\n", status, content_type="application/json")
        super().__init__(f"{status} {value}", body)
        self.code = status


class KleinRoutes:
    """The base of classes with their routes in `app`."""

    app: Klein

    def resource(self) -> KleinResource:
        """The resource to serve."""
        return self.app.resource()


def send_json(request: Any, value: object, status: int = 200) -> bytes:
    """Set the status and content type, and return the value as JSON for Klein to write."""
    request.setResponseCode(status)
    return send_bytes(request, json.dumps(value).encode("utf-8") + b"\n", b"application/json")


def send_bytes(request: Any, body: bytes, content_type: bytes) -> bytes:
    """Set the content type, and return the body for Klein to write."""
    request.setHeader(b"Content-Type", content_type)
    return body


def read_body(request: Request) -> bytes:
    """The request's whole body."""
    content: Any = request.content
    body: bytes = content.read()
    return body


def read_question(request: Request, kind: type[T]) -> T:
    """The body, a JSON object, as a value of this type. Raises ErrorResponse 400."""
    try:
        return msgspec.json.decode(read_body(request), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise bad_request(str(error)) from None


def bad_request(message: str) -> ErrorResponse:
    """The response of OpenAI's API to a malformed request."""
    return ErrorResponse(400, {"error": {"message": message, "type": "invalid_request_error", "code": 400}})


def header(request: Request, name: bytes) -> str:
    """The first value of a header field, or ""."""
    return (request.getHeader(name) or b"").decode("latin-1")


def require_bearer(request: Request, key: str) -> None:
    """Raise ErrorResponse 401 unless the request carries this key."""
    if header(request, b"Authorization").removeprefix("Bearer ") != key:
        raise ErrorResponse(401, {"error": "this key is not valid here"})

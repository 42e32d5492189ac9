"""JSON in and out of the simulator's resources."""

from __future__ import annotations

import hmac
import json
from typing import Any

from klein import Klein
from klein.resource import KleinResource
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request


class ErrorResponse(Exception):
    """A response other than 200, with the JSON value to send."""

    def __init__(self, status: int, value: object) -> None:
        super().__init__(f"{status} {value}")
        self.status = status
        self.value = value

    def send(self, request: Any) -> bytes:
        """Set the status and the type of the response, and return its body."""
        return send_json(request, self.value, self.status)


def error_response_app() -> Klein:
    """A Klein app, for a class, whose routes may raise an ErrorResponse."""
    app = Klein()

    @app.handle_errors(ErrorResponse)
    def respond(self: Any, request: IRequest, failure: Failure) -> bytes:
        said: Any = failure.value
        body: bytes = said.send(request)
        return body

    return app


class KleinRoutes:
    """What has its routes in `app`."""

    app: Klein

    def resource(self) -> KleinResource:
        """What to serve."""
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


def header(request: Request, name: bytes) -> str:
    """The first value of a header, or an empty text."""
    return (request.getHeader(name) or b"").decode("latin-1")


def parameter(request: Request, name: str, default: str = "") -> str:
    """The first value of a query parameter."""
    args: dict[bytes, list[bytes]] = request.args
    values = args.get(name.encode("ascii"))
    return values[0].decode("utf-8", "replace") if values else default


def bad_request(message: str) -> ErrorResponse:
    """What OpenAI's API answers to a request that makes no sense."""
    return ErrorResponse(400, {"error": {"message": message, "type": "invalid_request_error", "code": 400}})


def read_object(request: Request) -> dict[str, Any]:
    """The body, a JSON object. Raises ErrorResponse 400."""
    try:
        value = json.loads(read_body(request))
    except ValueError:
        raise bad_request("the body is not JSON") from None
    if type(value) is not dict:
        raise bad_request("the body is not a JSON object")
    return value


def limit_of(asked: dict[str, Any], *names: str) -> int | None:
    """The most tokens that are wanted, by the first of these names that is there. Raises ErrorResponse 400."""
    limit = next((asked[name] for name in names if asked.get(name) is not None), None)
    if limit is not None and (type(limit) is not int or limit < 1):
        raise bad_request("max_tokens must be a whole number of 1 or more")
    return limit


def prompt_of(asked: dict[str, Any]) -> str:
    """All that a conversation says. Raises ErrorResponse 400."""
    messages = asked.get("messages")
    if type(messages) is not list or not all(type(each) is dict for each in messages):
        raise bad_request("messages must be a list of objects")
    return " ".join(str(each.get("content", "")) for each in messages)


def require_bearer(request: Request, key: str) -> None:
    """Raise ErrorResponse 401 unless the call carries this key, as a bearer or as the parameter `api_key`."""
    given = header(request, b"Authorization").removeprefix("Bearer ") or parameter(request, "api_key")
    if not hmac.compare_digest(given.encode("utf-8"), key.encode("utf-8")):
        raise wrong_key()


def wrong_key() -> ErrorResponse:
    """The response to a key that is not the right one."""
    return ErrorResponse(401, {"error": "this key opens nothing here"})

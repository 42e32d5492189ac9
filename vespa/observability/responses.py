"""The responses of the admin port that are whole: made from a request's head and body, and sent at once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen
from twisted.logger import Logger

from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import LENGTH
from vespa.proxy.local_response import LocalResponse

BODY_MAX: Final = 4096
"""The largest body of a request, in bytes."""


@frozen
class Reply:
    """A response. `lines` are further field lines, each with its line end."""

    content_type: bytes
    body: bytes
    status: int = 200
    lines: bytes = b""


Respond = Callable[[RequestHead, bytes], Reply]
"""Makes the response to a request from its head and its body. May raise `Refusal`."""


class Response(LocalResponse):
    """Collects a request's body, and responds."""

    _log = Logger(namespace="vespa.observability.routes")

    def __init__(self, client: ServerConnection, head: RequestHead, respond: Respond) -> None:
        super().__init__(client, head)
        self._respond = respond
        self._body = b""

    def receive(self, data: bytes, complete: bool) -> None:
        """Keep the body, and respond when the request is complete."""
        self._body += data
        if len(self._body) > BODY_MAX:
            self.client.refuse(Refusal(413, "body_too_large", f"the body is larger than {BODY_MAX} bytes"))
        else:
            super().receive(b"", complete)

    def respond(self) -> None:
        client = self.client
        try:
            reply = self._respond(self.head, self._body)
        except Refusal as refusal:
            client.refuse(refusal)
            return
        except Exception:
            path = self.head.target.partition(b"?")[0].decode("latin-1")
            self._log.failure("{path} of the admin port failed", path=path)
            client.refuse(Refusal(500, "internal_error", "this page could not be made: the log has the traceback"))
            return
        client.start(
            reply.status, b"Content-Type: %b\r\n%b" % (reply.content_type, reply.lines), LENGTH, len(reply.body)
        )
        client.write(reply.body)
        client.finish()

    def held_bytes(self, received: int) -> int:
        return len(self._body)


def to_json(document: Any) -> bytes:
    """A document as one line of JSON in ASCII. Numbers that JSON does not have become null."""
    try:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(document), separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value

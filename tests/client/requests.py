"""Requests of callers, as bytes."""

from __future__ import annotations

import json
from typing import Any

HOST = b"Host: localhost:8010\r\n"
BODY = b'{ "model": "m",\n "price": 1.50, "caf\xc3\xa9": "\\u00e9" }'
STREAM = b'{"stream": true}'
CHAT = b"/v1/chat/completions"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(body: bytes = BODY, *lines: bytes, kind: bytes = b"application/json", target: bytes = b"/v1/chat") -> bytes:
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"POST %b HTTP/1.1\r\n%bContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        target,
        HOST,
        kind,
        fields,
        len(body),
        body,
    )


def get(target: bytes = b"/v1/models", *lines: bytes, method: bytes = b"GET") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def auth_data(given: dict[str, Any]) -> bytes:
    return json.dumps(
        {
            name: given[name]
            for name in ("cost", "endpoint", "reqnum", "request_idx", "signature", "url", "__request_id")
        },
        separators=(",", ":"),
    ).encode()


def content(answer: bytes) -> bytes:
    """The content of a chunked response."""
    rest, out = answer.partition(b"\r\n\r\n")[2], b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        out += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return out

"""Signed requests to a worker, as bytes."""

from __future__ import annotations

import json
from typing import Any

from tests.rig import PUBLIC_URL, body
from vespa.vast.auth import Auth


def auth(**changes: object) -> dict[str, object]:
    return {
        "cost": 2.5,
        "endpoint": "e",
        "reqnum": 7,
        "request_idx": 3,
        "signature": "c2ln",
        "url": PUBLIC_URL,
        **changes,
    }


def envelope(payload: bytes, **changes: object) -> bytes:
    return b'{"auth_data": ' + json.dumps(auth(**changes)).encode() + b', "payload": ' + payload + b"}"


def code(response: bytes) -> str:
    found: str = json.loads(body(response))["error"]["code"]
    return found


def signed(**changes: Any) -> Auth:
    """The signed values of `auth`, as the worker reads them."""
    values: dict[str, Any] = {**auth(), "work": 2_500_000, "cost_lexeme": b"2.5", **changes}
    return Auth(**values)

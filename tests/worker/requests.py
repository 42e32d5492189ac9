"""Signed requests to a worker, as bytes."""

from __future__ import annotations

import json

from tests.rig import PUBLIC_URL, body


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

"""The autoscaler's signatures, and the ways in which a client sends them to a worker.

This deliberately shares no code with the worker, so that each checks the other.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Signs = Literal["url", "full"]
SIGNED_FIELDS: dict[Signs, tuple[str, ...]] = {
    "url": ("url",),
    "full": ("cost", "endpoint", "reqnum", "request_idx", "url"),
}
ENVELOPE_FIELDS = ("cost", "endpoint", "reqnum", "request_idx", "signature", "url")


class Signer:
    """An RSA-2048 key that signs assignments like Vast's autoscaler."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def pem(self) -> bytes:
        """The public key as PEM text."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, message: Mapping[str, Any]) -> str:
        """The signature of a message, in base64."""
        text = json.dumps(dict(message), indent=4, sort_keys=True)
        return base64.b64encode(self._key.sign(text.encode("utf-8"), padding.PKCS1v15(), hashes.SHA256())).decode()

    def assignment(
        self,
        url: str,
        *,
        cost: float = 100,
        endpoint: str = "demo",
        reqnum: int = 1,
        request_idx: int = 1,
        signs: Signs = "url",
    ) -> dict[str, Any]:
        """A signed assignment to the worker at `url`, in the form of `auth_data`."""
        fields: dict[str, Any] = {
            "cost": cost,
            "endpoint": endpoint,
            "reqnum": reqnum,
            "request_idx": request_idx,
            "url": url,
        }
        signature = self.sign({name: fields[name] for name in SIGNED_FIELDS[signs]})
        return {**fields, "signature": signature}


def body_envelope(auth_data: Mapping[str, Any], payload: object, session_id: str | None = None) -> bytes:
    """The JSON body with an assignment and a payload. A payload of bytes is used unchanged."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode("utf-8")
    head = json.dumps({"auth_data": dict(auth_data), "session_id": session_id}).encode("utf-8")
    return head[:-1] + b', "payload": ' + raw + b"}"


def query_envelope(auth_data: Mapping[str, Any]) -> str:
    """The query parameters of an assignment.

    A number keeps its signed text, so that `100.0` stays `100.0`.
    """
    texts = {name: auth_data[name] for name in ENVELOPE_FIELDS}
    return urlencode(
        {f"serverless_{name}": value if isinstance(value, str) else json.dumps(value) for name, value in texts.items()}
    )

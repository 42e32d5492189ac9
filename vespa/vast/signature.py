"""Verifies the autoscaler's signature: RSA PKCS #1 v1.5 with SHA-256 over a JSON text, in base64."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Hashable
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from vespa.vast.auth import Auth

SignatureMode = Literal["any", "full", "url"]

MIN_KEY_BITS = 2048

_quote = json.JSONEncoder().encode
_PADDING = PKCS1v15()
_HASH = SHA256()


def message_url(auth: Auth) -> bytes:
    """The text that the autoscaler signs today. It covers only the worker's URL."""
    return ('{\n    "url": ' + _quote(auth.url) + "\n}").encode("ascii")


def message_full(auth: Auth) -> bytes:
    """
    The text that the autoscaler signed until December 2025.

    It equals the result of `json.dumps(…, indent=4, sort_keys=True)`, except that the numbers keep their received text.
    """
    cost, reqnum, request_idx = auth.lexemes
    return b'{\n    "cost": %b,\n    "endpoint": %b,\n    "reqnum": %b,\n    "request_idx": %b,\n    "url": %b\n}' % (
        cost,
        _quote(auth.endpoint).encode("ascii"),
        reqnum,
        request_idx,
        _quote(auth.url).encode("ascii"),
    )


class Verifier:
    """
    Verifies signatures with one public key, in the forms that the mode allows, and remembers recent valid ones.

    `pem` is the text of the key. Raises ValueError if it is not an RSA key of 2048 bits or more. The last `cache_size`
    valid signatures are remembered. Invalid ones are not, so they cannot displace the valid ones.
    """

    def __init__(self, pem: bytes | str, mode: SignatureMode, cache_size: int = 4096) -> None:
        if mode not in ("any", "full", "url"):
            raise ValueError(f"unknown signature mode: {mode}")
        try:
            key = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
        except UnsupportedAlgorithm as error:
            raise ValueError("unsupported public key") from error
        if not isinstance(key, RSAPublicKey) or key.key_size < MIN_KEY_BITS:
            raise ValueError(f"the public key is not an RSA key of {MIN_KEY_BITS} bits or more")
        self._key = key
        self._length = (key.key_size + 7) // 8
        self._url = mode != "full"
        self._full = mode != "url"
        self._cache_size = cache_size
        self._good: OrderedDict[Hashable, None] = OrderedDict()

    def verify(self, auth: Auth) -> bool:
        """Whether the signature is valid in one of the forms that the mode allows."""
        good = self._good
        signature = auth.signature
        url_key = (auth.url, signature)
        if self._url and url_key in good:
            good.move_to_end(url_key)
            return True
        full_key = (message_full(auth), signature) if self._full else None
        if full_key in good:
            good.move_to_end(full_key)
            return True
        raw = _unbase64(signature)
        if len(raw) != self._length:
            return False
        if self._url and self._is_signed(raw, message_url(auth)):
            return self._remember(url_key)
        if full_key is not None and self._is_signed(raw, full_key[0]):
            return self._remember(full_key)
        return False

    def _is_signed(self, signature: bytes, message: bytes) -> bool:
        try:
            self._key.verify(signature, message, _PADDING, _HASH)
        except InvalidSignature:
            return False
        return True

    def _remember(self, key: Hashable) -> Literal[True]:
        self._good[key] = None
        if len(self._good) > self._cache_size:
            self._good.popitem(last=False)
        return True


def _unbase64(text: str) -> bytes:
    """Decode a base64 text; b"" if it is not the canonical text for its bytes."""
    try:
        raw = b64decode(text, validate=True)
    except ValueError:
        return b""
    return raw if b64encode(raw).decode("ascii") == text else b""

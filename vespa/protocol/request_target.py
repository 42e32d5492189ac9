"""A request's target (RFC 9112 3.2)."""

from __future__ import annotations

from typing import Final

from vespa.protocol.fields import is_host
from vespa.protocol.refusal import Refusal

ALLOW: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"  # the supported methods, as the value of an Allow field

METHODS_WITHOUT_PATH: Final = (b"CONNECT", b"TRACE")  # methods that are refused with any target


def origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """
    Change an unusual target to origin form, with the same path and query. Returns it and its authority, b"" for none.

    b"*" stays unchanged with OPTIONS. Raises `Refusal`.
    """
    if method in METHODS_WITHOUT_PATH:
        raise Refusal(405, "method_not_allowed", f"the method {method.decode()} is not supported", allow=ALLOW)
    if b"#" in target:
        raise Refusal(400, "bad_request", "the target contains a fragment")
    if target == b"*" and method == b"OPTIONS":
        return target, b""
    scheme, colon, rest = target.partition(b"://")
    if not colon or scheme.lower() not in (b"http", b"https"):
        raise Refusal(400, "bad_request", "the target is neither a path nor an http URL")
    ends = [i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0]
    cut = min(ends) if ends else len(rest)
    authority, path = rest[:cut], rest[cut:]
    if not is_host(authority):
        raise Refusal(400, "bad_request", "the target's authority is not a valid host")
    # RFC 9112 3.2.2: the authority overrides the Host field.
    return path if path[:1] == b"/" else b"/" + path, authority

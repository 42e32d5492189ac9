"""A request's target: what is asked for (RFC 9112 3.2)."""

from __future__ import annotations

from typing import Final

from vespa.protocol.fields import is_host
from vespa.protocol.refusal import Refusal

ALLOW: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
"""The methods that are served, as an Allow field lists them."""

METHODS_WITHOUT_PATH: Final = (b"CONNECT", b"TRACE")
"""Methods that are not served, whatever their target."""


def origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """
    An unusual target in origin form, its path and query untouched; and the authority that it names, b"" for none.

    b"*" stays as it is with OPTIONS. Raises `Refusal`.
    """
    if method in METHODS_WITHOUT_PATH:
        raise Refusal(405, "method_not_allowed", f"{method.decode()} is not served", allow=ALLOW)
    if b"#" in target:
        raise Refusal(400, "bad_request", "a target has no fragment")
    if target == b"*" and method == b"OPTIONS":
        return target, b""
    scheme, colon, rest = target.partition(b"://")
    if not colon or scheme.lower() not in (b"http", b"https"):
        raise Refusal(400, "bad_request", "the target is neither a path nor an http URL")
    ends = [i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0]
    cut = min(ends) if ends else len(rest)
    authority, path = rest[:cut], rest[cut:]
    if not is_host(authority):
        raise Refusal(400, "bad_request", "the target's authority is not a host")
    # RFC 9112 3.2.2: the authority overrides the Host field.
    return path if path[:1] == b"/" else b"/" + path, authority

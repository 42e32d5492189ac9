"""The fields that pass the client only if the user allows it (`--pass`), for a login of the backend's own."""

from __future__ import annotations

from typing import Final

from vespa.protocol.request_head import RequestHead

COOKIE: Final = "cookie"
AUTHORIZATION: Final = "authorization"

# Workers remove Authorization itself, because on Vast.ai it holds the endpoint's key.
_FOR_BACKEND: Final = b"X-Vespa-Authorization: "
_NEEDS_SECURE: Final = (b"__secure-", b"__host-")


def passed_lines(head: RequestHead, passes: tuple[str, ...], token: bytes) -> list[bytes]:
    """The lines of a caller's cookies and credentials for the worker, never those with this proxy's own token."""
    lines: list[bytes] = []
    if COOKIE in passes:
        lines += [line + b"\r\n" for line in head.passing if line[:7].lower() == b"cookie:"]
    if AUTHORIZATION in passes:
        for line in head.authorization:
            name, _, value = line.partition(b":")
            value = value.strip(b" \t")
            # With any scheme, or without one. The caller has already shown the token.
            if name.lower() != b"authorization" or (token and token in value.split()):
                continue
            lines.append(_FOR_BACKEND + value + b"\r\n")
    return lines


def local_cookie(line: bytes) -> bytes:
    """
    Change a Set-Cookie line for this proxy, which has another host than the worker and no TLS.

    Removes Domain, Secure, and SameSite=None, which needs Secure. A name that begins with `__Secure-` or
    `__Host-` keeps Secure: browsers accept it from localhost, and would not accept the cookie without it.
    """
    name, _, value = line.partition(b":")
    pair, *attributes = value.strip(b" \t").split(b";")
    keeps_secure = pair.lower().startswith(_NEEDS_SECURE)
    kept = [pair]
    for attribute in attributes:
        what, _, how = attribute.partition(b"=")
        what, how = what.strip(b" \t").lower(), how.strip(b" \t").lower()
        if what == b"domain" or (not keeps_secure and (what == b"secure" or (what, how) == (b"samesite", b"none"))):
            continue
        kept.append(attribute)
    return name + b": " + b";".join(kept)

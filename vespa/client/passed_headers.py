"""The fields that go through the client only where the user says so (`--pass`): a login of the backend's own."""

from __future__ import annotations

from typing import Final

from vespa.protocol.request_head import RequestHead

COOKIE: Final = "cookie"
AUTHORIZATION: Final = "authorization"

# Authorization itself is dropped by workers: on Vast.ai it holds the endpoint's key.
_FOR_BACKEND: Final = b"X-Vespa-Authorization: "
_NEEDS_SECURE: Final = (b"__secure-", b"__host-")


def passed_lines(head: RequestHead, passes: tuple[str, ...], token: bytes) -> list[bytes]:
    """The lines of a caller's cookies and credentials for the worker; never what holds this proxy's own token."""
    lines: list[bytes] = []
    if COOKIE in passes:
        lines += [line + b"\r\n" for line in head.passing if line[:7].lower() == b"cookie:"]
    if AUTHORIZATION in passes:
        for line in head.authorization:
            name, _, value = line.partition(b":")
            value = value.strip(b" \t")
            # Whatever the scheme, and also without one; who comes here has shown the token.
            if name.lower() != b"authorization" or (token and token in value.split()):
                continue
            lines.append(_FOR_BACKEND + value + b"\r\n")
    return lines


def local_cookie(line: bytes) -> bytes:
    """
    A Set-Cookie line as a browser takes it from this proxy, which is another host than the worker and speaks no TLS.

    Left out are Domain, Secure, and SameSite=None, which needs Secure. A name that begins with `__Secure-` or
    `__Host-` keeps Secure: browsers take it from localhost, and without would not take the cookie.
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

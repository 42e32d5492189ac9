"""
Changes Origin and Referer for another authority.

Some servers refuse a request whose Origin or Referer differs from their Host (ComfyUI, Jupyter, Django). A proxy gives
a request another Host, so fields that name the authority that the caller addressed must change too. Fields that name
another authority come from a foreign page. They stay unchanged, so that the server can refuse them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}
# Linear: each part ends at the byte with which the next begins.
_URL: Final = re.compile(rb"([Hh][Tt][Tt][Pp][Ss]?)://([^/?#\\]*)(.*)", re.DOTALL)


def readdressed(
    block: bytes, lines: Collection[bytes], *, host: bytes, secure: bool, origin: bytes, path_prefix: bytes
) -> bytes:
    """
    A block of field lines in which those of `lines` that name the authority `host` name `origin` instead.

    `origin` is "scheme://host[:port]" of the next server, and `path_prefix` comes before each path there. `secure`: the
    caller used TLS, so the scheme of its page is https. If the caller used plain HTTP, the page may still be https,
    because another server may have ended TLS before us.
    """
    schemes = (b"https",) if secure else (b"http", b"https")
    own = {(scheme, _without_default_port(scheme, host.lower())) for scheme in schemes}
    known = frozenset(lines)
    return b"\r\n".join(
        [_moved(line, own, origin, path_prefix) if line in known else line for line in block.split(b"\r\n")]
    )


def _moved(line: bytes, own: Collection[tuple[bytes, bytes]], origin: bytes, path_prefix: bytes) -> bytes:
    name, _, value = line.partition(b":")
    parts = _URL.fullmatch(value.strip(b" \t"))
    if parts is None:
        return line
    scheme = parts[1].lower()
    if (scheme, _without_default_port(scheme, parts[2].lower())) not in own:
        return line
    rest = parts[3]
    return b"%b: %b%b" % (name, origin, path_prefix + rest if rest else b"")


def _without_default_port(scheme: bytes, authority: bytes) -> bytes:
    return authority.removesuffix(_DEFAULT_PORTS[scheme])

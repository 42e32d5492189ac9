"""
Origin and Referer towards another authority.

A server that guards itself against foreign pages compares them with its Host (ComfyUI, Jupyter, Django). A proxy gives
a request another Host, so where they name the authority that the caller addressed they have to change with it. What
names any other is a foreign page's, and stays as it is: to judge it is the server's.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}
# Linear: each part ends where the next one's first byte stands.
_URL: Final = re.compile(rb"([Hh][Tt][Tt][Pp][Ss]?)://([^/?#\\]*)(.*)", re.DOTALL)


def readdressed(
    block: bytes, lines: Collection[bytes], *, host: bytes, secure: bool, origin: bytes, path_prefix: bytes
) -> bytes:
    """
    A block of field lines in which those of `lines` that name the authority `host` name `origin` instead.

    `origin` is "scheme://host[:port]" of the server that the block goes to, `path_prefix` what stands there before each
    path. `secure`: the caller came by TLS, so its page's scheme is https. A page that came over plain HTTP may be an
    https one all the same, as TLS may have ended before us.
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

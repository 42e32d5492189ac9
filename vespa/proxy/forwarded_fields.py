"""The fields that tell an upstream the address of the client (X-Forwarded-For, -Proto and -Host)."""

from __future__ import annotations

from vespa.http.server_connection import ServerConnection
from vespa.protocol.request_head import RequestHead


def forwarded_lines(client: ServerConnection, head: RequestHead, *, believed: bool = False) -> bytes:
    """
    All three fields, for a backend.

    `believed`: use the request's own X-Forwarded-Host and -Proto, if it has them, instead of its connection's.
    """
    scheme, host = _scheme(client), head.host
    if believed:
        scheme, host = head.forwarded_proto or scheme, head.forwarded_host or host
    lines = b"X-Forwarded-Proto: %b\r\n" % scheme
    if client.peer:
        lines += b"X-Forwarded-For: %b\r\n" % client.peer.encode("ascii", "replace")
    return lines + b"X-Forwarded-Host: %b\r\n" % host if host else lines


def addressed_lines(client: ServerConnection, head: RequestHead) -> bytes:
    """The address that the caller used, for the next proxy (X-Forwarded-Proto and -Host)."""
    if not head.host:
        return b""
    return b"X-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n" % (_scheme(client), head.host)


def _scheme(client: ServerConnection) -> bytes:
    return b"https" if client.secure else b"http"

"""Preflights: what a browser asks before it sends a request of a page from elsewhere."""

from __future__ import annotations

from vespa.protocol.request_head import RequestHead
from vespa.proxy.cors import is_preflight


def is_free_preflight(head: RequestHead) -> bool:
    """
    Whether a browser asks with OPTIONS for permission to send the request of this assignment (Fetch 4.8).

    A preflight costs nothing, so it may have no body and no upgrade.
    """
    # Browsers send no preflight for a WebSocket, and an upgrade would be a free tunnel.
    if head.method != b"OPTIONS" or not head.sources or head.chunked or head.has_body or head.upgrade:
        return False
    return is_preflight(head) and any(line[:7].lower() == b"origin:" for line in head.sources)

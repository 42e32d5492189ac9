"""An admin port in the test's own process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet import reactor

from tests.top.documents import worker
from vespa.observability.admin import AdminListener, admin_listener
from vespa.observability.routes import Sources

ANY_PORT = "tcp:0:interface=127.0.0.1"


def serve(endpoint: str = ANY_PORT, token: str = "") -> AdminListener:
    """A port that is open, of a worker; the load in its events is their number. Stop it at the end."""
    events = 0

    def event() -> Mapping[str, Any]:
        nonlocal events
        events += 1
        return {"load": float(events)}

    sources = Sources(
        metrics=lambda accept: ("text/plain", b""),
        status=worker,
        event=event,
        ready=lambda: (True, ""),
        page=b"",
        set_level=lambda name: None,
    )
    listener = admin_listener(reactor, endpoint, token, sources, default="", setting="VESPA_ADMIN_LISTEN")
    listener.startService()
    return listener

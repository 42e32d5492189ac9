"""The metrics of sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vespa.observability.metric import Reading, counter, gauge
from vespa.worker.sessions.sessions import Sessions

SESSIONS: Final = gauge("vespa_sessions", "Sessions that are open, or that are being closed.")
SESSIONS_TOTAL: Final = counter(
    "vespa_sessions_total",
    "Sessions: opened or refused; ended by a request, expired, drained at a stop, or lost with their backend.",
    "result",
)
SESSION_CALLBACKS: Final = counter(
    "vespa_session_callbacks_total",
    "Requests that told the backend of the end: delivered, failed.",
    "result",
)


def session_readings(sessions: Sessions | None) -> list[Reading]:
    """The metrics of sessions. Without sessions they have no samples."""
    return [
        Reading(SESSIONS, lambda: len(sessions.table.sessions) if sessions is not None else None),
        Reading(SESSIONS_TOTAL, lambda: sessions.counts() if sessions is not None else {}),
        Reading(SESSION_CALLBACKS, lambda: callbacks(sessions) if sessions is not None else {}),
    ]


def callbacks(sessions: Sessions) -> Mapping[str, float]:
    """How the requests to an `on_close_route` ended, since the start."""
    return {"delivered": sessions.callbacks_delivered, "failed": sessions.callbacks_failed}

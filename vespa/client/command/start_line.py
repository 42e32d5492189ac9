"""The first line of the client's log."""

from __future__ import annotations

from vespa.config.client import ClientSettings
from vespa.runtime import process
from vespa.runtime.start_line import program, switches


def start_line(settings: ClientSettings, reactor: object) -> str:
    """Versions, endpoint, the autoscaler that it asks, and what is on."""
    parts = {
        "jobs": settings.jobs if settings.jobs != "off" else "",
        "first token": f"within {settings.first_token_timeout:g} s" if settings.first_token_timeout else "",
        "stream errors": "on" if settings.stream_errors else "",
        "admin listener": settings.admin_listen,
        "access log": settings.access_log if settings.access_log != "off" else "",
        "log": process.log_words(),
    }
    if settings.debug_worker_url:
        endpoint = f"worker {settings.debug_worker_url} (VAST_DEBUG_WORKER_URL), no autoscaler, no signatures"
    else:
        endpoint = f"endpoint {settings.endpoint or '(to be chosen)'}, autoscaler {settings.autoscaler}"
    return f"{program('Vespa client', reactor)}: {endpoint}; {switches(parts)}"

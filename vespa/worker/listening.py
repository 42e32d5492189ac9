"""The worker's port: whom it lets in, and what it limits."""

from __future__ import annotations

from vespa.config.worker import WorkerSettings
from vespa.http.limits import Limits
from vespa.proxy.browser_guard import BrowserGuard
from vespa.transport.descriptors import ADMIN_CONNECTIONS, RESERVE, limit, share_out, tell
from vespa.transport.splice import Pipes


def guard(settings: WorkerSettings) -> BrowserGuard | None:
    """Refuses web pages on an unsecured worker; None for a secured one, or if its settings open it to everyone."""
    if settings.secured or settings.unsecured_public or settings.listen.startswith("unix:"):
        return None
    return BrowserGuard(
        # The addresses of a VESPA_LISTEN endpoint are unknown here, so allow any address, but no names.
        host="0.0.0.0" if settings.listen else "127.0.0.1",
        allow_hosts=settings.allowed_hosts,
        scheme=b"https" if settings.endpoint.startswith("ssl:") else b"http",
        setting="VESPA_ALLOWED_HOSTS",
        needs_host=False,
    )


def limits(settings: WorkerSettings) -> Limits:
    """The limits on clients, with a share of the descriptors that the system grants."""
    reserve = RESERVE + (ADMIN_CONNECTIONS if settings.admin_listen else 0)
    shares = share_out(limit(), settings.inbound_limit, reserve)
    tell(shares, settings.inbound_limit)
    Pipes.most, connections = shares.pipes, shares.connections
    return Limits(
        head_bytes=settings.head_limit,
        head_fields=settings.head_fields,
        upgrades=frozenset(name.lower().encode("ascii") for name in settings.upgrades),
        head_seconds=settings.head_timeout,
        body_min_rate=settings.body_min_rate,
        body_idle_seconds=settings.body_idle_timeout,
        write_stall_seconds=settings.write_stall_timeout,
        keepalive_seconds=settings.keepalive_timeout,
        pipeline_bytes=settings.pipeline_limit,
        unverified_bytes=settings.unverified_total,
        held_bytes=settings.held_limit,
        keepalive_probe_seconds=settings.tcp_keepalive,
        connections=connections,
        connections_per_address=settings.inbound_limit_per_address,
    )

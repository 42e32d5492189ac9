"""Limits on clients, and on the use of an upstream."""

from __future__ import annotations

from attrs import frozen

from vespa.protocol.message_head import FIELDS_MAX


@frozen(kw_only=True)
class Limits:
    """
    Limits on clients; sizes in bytes, times in seconds, 0 turns a limit off.

    `body_min_rate` is for bodies of unverified requests, `body_idle_seconds` for all others. `held_bytes` and
    `unverified_bytes` are for all connections together. `upgrades` are the protocols, in lower case, that the proxy
    offers to the server behind it if a client does.
    """

    head_bytes: int = 32768
    head_fields: int = FIELDS_MAX
    upgrades: frozenset[bytes] = frozenset((b"websocket",))
    head_seconds: float = 10.0
    body_min_rate: float = 128.0
    body_idle_seconds: float = 60.0
    write_stall_seconds: float = 60.0
    keepalive_seconds: float = 30.0
    pipeline_bytes: int = 65536
    held_bytes: int = 256 << 20
    unverified_bytes: int = 64 << 20
    connections: int = 10000
    connections_per_address: int = 0
    keepalive_probe_seconds: int = 60
    linger_bytes: int = 64 << 20
    linger_seconds: float = 5.0


@frozen(kw_only=True)
class PoolLimits:
    """
    Limits for one upstream; sizes in bytes, times in seconds.

    `connections` 0: no limit. `idle_seconds` is the maximum for which an idle connection is kept, if the upstream does
    not close it sooner; 0: a connection serves one request. `probe_seconds`: the time after which the kernel probes a
    silent upstream; 0: never.
    """

    head_bytes: int = 65536
    head_fields: int = FIELDS_MAX
    idle_seconds: float = 2.0
    connections: int = 0
    probe_seconds: int = 0

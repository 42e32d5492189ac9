"""The rule of worker and client for their admin port: other machines need a token."""

from __future__ import annotations

from typing import Any

from vespa.config.reader import Reading
from vespa.transport.endpoint_strings import is_local


def check_admin(reading: Reading[Any]) -> None:
    """Add a problem with an admin port that other machines can reach and that has no token."""
    values = reading.values
    endpoint = values["admin_listen"]
    unknown = reading.problems.keys() & {"admin_listen", "admin_token", "admin_token_file"}
    if not (values["admin_token"] or unknown) and needs_token(endpoint):
        token = reading.name("admin_token")
        why = f"other machines could read it: set {token} as well, or listen on this machine only (interface=127.0.0.1)"
        reading.wrong("admin_listen", why)


def needs_token(endpoint: str) -> bool:
    """Whether the admin port at this endpoint needs a token. The endpoint "" is none."""
    return bool(endpoint) and not is_local(endpoint)

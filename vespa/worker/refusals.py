"""Refusals that several parts of a worker's admission make."""

from __future__ import annotations

from vespa.protocol.refusal import Refusal


def in_flight(request_idx: int) -> Refusal:
    """The refusal of a request whose assignment is in use. It is not counted: its completion would end the other."""
    message = f"a request with request_idx {request_idx} is in flight: an assignment is for one request at a time"
    return Refusal(429, "in_flight", message, retry_after=1, origin="client")


def session_lost() -> Refusal:
    """The refusal of a request whose session is at a backend that is gone."""
    message = "the backend that this session was on is gone, and with it what it knew: create a new session"
    return Refusal(410, "invalid_session", message, origin="backend")

"""
The error codes of worker, client and admin listener, each with the statuses that it comes with.

A code is one word for programs: the field `X-Vespa-Error` and `error.code` of the body. It keeps its meaning in later
releases. `docs/errors.md` says what each means and what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Worker and client are HTTP servers, and may refuse any request as such. docs/http.md has the rules.
_HTTP: Final[Mapping[str, tuple[int, ...]]] = {
    "bad_request": (400,),
    "method_not_allowed": (405,),
    "head_timeout": (408,),
    "body_timeout": (408,),
    "expectation_failed": (417,),
    "head_too_large": (431,),
    "too_many_fields": (431,),
    "unknown_method": (501,),
    "unknown_coding": (501,),
    "version_not_supported": (505,),
}

_BOTH: Final[Mapping[str, tuple[int, ...]]] = {
    "foreign_host": (403,),
    "foreign_origin": (403,),
    "cross_site": (403,),
    "invalid_cost": (422,),
    "internal_error": (500,),
    "no_reply": (502,),
    "truncated_reply": (502,),
    "bad_reply": (502,),
    "too_many_connections": (503,),
    "too_many_tunnels": (503,),
    "too_much_held": (503,),
    "too_much_unverified": (503,),
    "draining": (503,),
    "first_byte_timeout": (504,),
    "idle_timeout": (504,),
    "total_timeout": (504,),
    "loop_detected": (508,),
}

WORKER_CODES: Final[Mapping[str, tuple[int, ...]]] = {
    **_BOTH,
    "bad_signature": (401,),
    "wrong_url": (401,),
    "replayed": (401,),
    "unauthorized": (401,),
    "bad_session_auth": (401,),
    "no_sessions": (404,),
    "not_found": (404,),
    "invalid_session": (400, 410),
    "body_too_large": (413,),
    "invalid_envelope": (422,),
    "in_flight": (429,),
    "too_many_sessions": (429,),
    "busy": (429,),
    "queue_full": (429,),
    "too_many_polls": (429,),
    "job_lost": (502,),
    "backend_unreachable": (502,),
    "bad_certificate": (502,),
    "not_ready": (503,),
    "no_key": (503,),
    "queue_timeout": (503,),
    "backend_timeout": (504,),
    "job_timeout": (504,),
}

CLIENT_CODES: Final[Mapping[str, tuple[int, ...]]] = {
    **_BOTH,
    "token_required": (401,),
    "bad_endpoint_key": (401,),
    "no_endpoint_key": (401,),
    "official_dialect": (405, 415, 422, 426),
    "session_ended": (410,),
    "unknown_job": (410,),
    "invalid_session_field": (422,),
    "invalid_json": (422,),
    "too_many_sessions": (429,),
    "job_unreachable": (502,),
    "session_refused": (502,),
    "session_unreachable": (502,),
    "route_refused": (502,),
    "foreign_redirect": (502,),
    "bad_assignment": (502,),
    "bad_certificate": (502,),
    "unknown_coding": (502,),
    "no_worker_root": (502,),
    "worker_unreachable": (502,),
    "no_worker": (503,),
    "autoscaler_unavailable": (503,),
    "too_many_requests": (503,),
    "worker_timeout": (504,),
    "first_token_timeout": (504,),
}

ADMIN_CODES: Final[Mapping[str, tuple[int, ...]]] = {
    "token_required": (401,),
    "foreign_host": (403,),
    "foreign_origin": (403,),
    "cross_site": (403,),
    "not_found": (404,),
    "method_not_allowed": (405,),
    "body_too_large": (413,),
    "invalid_level": (422,),
    "internal_error": (500,),
    "too_many_streams": (503,),
    "too_many_connections": (503,),
}

_TABLES: Final = (_HTTP, WORKER_CODES, CLIENT_CODES, ADMIN_CODES)
# Each refusal asks for these, and strangers can cause refusals without end.
_STATUSES: Final[Mapping[str, tuple[int, ...]]] = {
    code: tuple(dict.fromkeys(status for table in _TABLES for status in table.get(code, ())))
    for table in _TABLES
    for code in table
}


def statuses(code: str) -> tuple[int, ...]:
    """The statuses that a response with this code may have; empty for an unknown code."""
    return _STATUSES.get(code, ())

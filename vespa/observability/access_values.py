"""Values of a line in the access log, as it shows them."""

from __future__ import annotations

from typing import Final

from constantly import NamedConstant
from twisted.logger import LogLevel

from vespa.accounting.lifecycle import FAILED, REFUSED, UNSERVED
from vespa.observability.ended_requests import EndedRequest
from vespa.observability.request_record import shown_path
from vespa.protocol.request_head import RequestHead
from vespa.runtime.redaction import without_named_secrets

_NOT_THE_UPSTREAM: Final = frozenset(("", "client", "vespa"))


def level_of(request: EndedRequest) -> NamedConstant:
    """Warn if neither the caller nor Vespa caused a failure, so that an operator may have to act; otherwise info."""
    state = request.state
    if state is FAILED or state is REFUSED:
        return LogLevel.info if request.origin in _NOT_THE_UPSTREAM else LogLevel.warn
    return LogLevel.warn if state is UNSERVED and request.status >= 500 else LogLevel.info


def in_milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)


def method_of(head: RequestHead) -> str:
    return head.method.decode("ascii", "replace")


def path_of(head: RequestHead | None) -> str:
    """The path as it is logged: bounded, printable, without a query, and without what looks like a secret."""
    return without_named_secrets(shown_path(head.target)) if head is not None else ""

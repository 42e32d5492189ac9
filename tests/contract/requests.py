"""All request cases, as data: what is sent to the worker, and what must come of it."""

from __future__ import annotations

from . import request_framing, request_headers, request_targets
from .cases import Case, Forwarded

CASES: tuple[Case, ...] = (*request_targets.CASES, *request_headers.CASES, *request_framing.CASES)

# Those of a single request that is passed on, sent in one go: what may be cut anywhere without a difference.
FORWARDED: tuple[Case, ...] = tuple(
    case
    for case in CASES
    if case.whole is not None and all(isinstance(response, Forwarded) for response in case.answers)
)

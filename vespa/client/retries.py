"""Whether a request that failed at one worker goes to another one."""

from __future__ import annotations

from typing import Final

from vespa.protocol.response_head import ResponseHead

_DIED: Final = "no_reply"
_DEATHS_MAX: Final = 1
_GONE: Final = frozenset(("backend_unreachable", "backend_timeout", "not_ready"))
"""Error codes of a worker that could not give the request to its backend."""
_GONE_SECONDS: Final = 15.0
"""A worker reports within five seconds that its backend is gone. For so long after that, the client asks for others."""
_GONE_ATTEMPTS_MAX: Final = 30
_BUSY: Final = frozenset((429, 503))
_CODE_MAX: Final = 40


class Retries:
    """The failures of one request, made at the first. `attempts_max` is the usual number of workers for it."""

    def __init__(self, attempts_max: int) -> None:
        self._most = attempts_max
        self._deaths = 0
        self._gone_since = 0.0

    def allow(self, code: str, attempts: int, now: float) -> bool:
        """Whether to ask for another worker after this failure, the last of so many attempts."""
        if attempts >= self._most and not self._may_outlast(code, attempts, now):
            return False
        if code == _DIED:
            # The worker had the request, and may have crashed on it: try one other worker, not all of them.
            self._deaths += 1
            return self._deaths <= _DEATHS_MAX
        return True

    def _may_outlast(self, code: str, attempts: int, now: float) -> bool:
        """
        Whether to ask for more workers than usual, while the autoscaler does not know of a dead backend.

        A worker without a backend fails at once, so it has the least load, and the autoscaler names it again until
        then.
        """
        if code not in _GONE or self._most < 2:
            return False
        if not self._gone_since:
            self._gone_since = now
        return now - self._gone_since < _GONE_SECONDS and attempts < _GONE_ATTEMPTS_MAX


def error_code(head: ResponseHead) -> str:
    """The reason why a worker did not serve a request: its code, or "busy"; "" for any other response."""
    code = ""
    for line in head.passing:
        if line[:14].lower() == b"x-vespa-error:":
            code = line[14:].strip().decode("ascii", "replace")[:_CODE_MAX]
    if head.status in _BUSY:
        return code if code in _GONE else "busy"
    return code if code == _DIED or code in _GONE else ""

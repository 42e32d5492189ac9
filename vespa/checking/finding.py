"""What a check found: one line each, with what to do about every line that is not right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from attrs import field, frozen

State = Literal["ok", "warning", "failed", "skipped"]
Part = Literal["worker", "client"]

ALL_RIGHT: Final = 0
FAILED: Final = 1


@frozen
class Finding:
    """
    One thing that was examined, and its state.

    `what` names it, `why` says in one sentence what was found, and `advice` what to do. Only an "ok" has no advice.
    `details` are values for programs, which JSON can express.
    """

    state: State
    what: str
    why: str
    advice: str = ""
    details: Mapping[str, Any] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if bool(self.advice) == (self.state == "ok"):
            raise ValueError(f"{self.what}: there is advice if something is not right, and only then")


def ok(what: str, why: str, **details: Any) -> Finding:
    """It is right."""
    return Finding("ok", what, why, "", details)


def warning(what: str, why: str, advice: str, **details: Any) -> Finding:
    """It may be wrong, or may become wrong. It does not fail the check."""
    return Finding("warning", what, why, advice, details)


def failed(what: str, why: str, advice: str, **details: Any) -> Finding:
    """It is wrong."""
    return Finding("failed", what, why, advice, details)


def skipped(what: str, why: str, advice: str, **details: Any) -> Finding:
    """It could not be examined."""
    return Finding("skipped", what, why, advice, details)


@frozen
class Findings:
    """The findings about one part, in the order in which they are shown. `report` is what it would report; or None."""

    part: Part
    found: Sequence[Finding]
    report: Mapping[str, Any] | None = None


def exit_code(parts: Iterable[Findings], *, strict: bool) -> int:
    """0 if nothing failed, else 1. With `strict`, warnings and what was skipped fail too."""
    fails = {"failed", "warning", "skipped"} if strict else {"failed"}
    return FAILED if any(each.state in fails for part in parts for each in part.found) else ALL_RIGHT


def summary(parts: Iterable[Findings]) -> str:
    """How many findings there are of each state."""
    counts = Counter(each.state for part in parts for each in part.found)
    words: dict[State, str] = {"ok": "ok", "warning": "warnings", "failed": "failed", "skipped": "skipped"}
    if counts["warning"] == 1:
        words["warning"] = "warning"
    return ", ".join(f"{counts[state]} {word}" for state, word in words.items() if counts[state] or state == "ok")


def as_json(parts: Iterable[Findings], *, version: str, code: int) -> dict[str, Any]:
    """The whole result for programs."""
    return {
        "vespa": version,
        "exit_code": code,
        "parts": [
            {
                "part": part.part,
                "findings": [
                    {
                        "what": each.what,
                        "state": each.state,
                        "why": each.why,
                        "advice": each.advice,
                        "details": dict(each.details),
                    }
                    for each in part.found
                ],
                "report": None if part.report is None else dict(part.report),
            }
            for part in parts
        ],
    }

"""
A status document as it came over the network: from another version of Vespa, or from another program, maybe.

Every member may be missing, null or of another type.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

REQUESTS_KEPT: Final = 50
ROWS_KEPT: Final = 60
"""The number of seconds of history that are kept."""
_NOT_FIGURES: Final = frozenset(
    ("version", "kind", "vespa_version", "now_at", "started_at", "state", "state_since_at", "state_reason")
)


class Document:
    """A status document, read member by member. It notes which members were read."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = members
        self._read: set[str] = set(_NOT_FIGURES)

    def number(self, name: str) -> float | None:
        """A number; None if there is none."""
        self._read.add(name)
        return _number(self._members.get(name))

    def text(self, name: str) -> str:
        """A text; "" if there is none."""
        self._read.add(name)
        value = self._members.get(name)
        return value if isinstance(value, str) else ""

    def flag(self, name: str) -> bool:
        self._read.add(name)
        return self._members.get(name) is True

    def texts(self, name: str) -> list[str]:
        """The texts of a list."""
        self._read.add(name)
        value = self._members.get(name)
        return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []

    def rows(self, name: str) -> list[Mapping[str, Any]]:
        """The objects of a list."""
        self._read.add(name)
        value = self._members.get(name)
        return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []

    def history(self, name: str) -> list[float | None]:
        """The values of a figure second by second, the oldest first; None is a gap."""
        columns = self._members.get("history")
        values = columns.get(name) if isinstance(columns, Mapping) else None
        if not isinstance(values, list):
            return []
        return [_number(each) for each in values]

    @property
    def now(self) -> float:
        """The time of the document, in epoch seconds."""
        return self.number("now_at") or 0.0

    def since(self, name: str) -> float | None:
        """The seconds since a time; None if it is not known."""
        at = self.number(name)
        return None if at is None else max(0.0, self.now - at)

    def rest(self) -> Iterator[tuple[str, Any]]:
        """The members with one value that were not read, except empty ones."""
        for name, value in self._members.items():
            if name not in self._read and isinstance(value, (str, int, float)) and value != "":
                yield name, value


def merged(document: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """A document with what is new in an event: its figures, its newest requests, its newest seconds of history."""
    lists = {"requests": _merged_requests(document, event), "history": _merged_history(document, event)}
    return {**document, **event, **lists}


def _merged_requests(document: Mapping[str, Any], event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: dict[float, Mapping[str, Any]] = {}
    for members in (document, event):
        for row in Document(members).rows("requests"):
            number = _number(row.get("number"))
            if number is not None:
                found[number] = row
    return [found[number] for number in sorted(found)][-REQUESTS_KEPT:]


def _merged_history(document: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of the event replace those of the same seconds. A gap between the two is forgotten."""
    old, new = _columns(document), _columns(event)
    old_at, new_at = _number(old.get("from_at")), _number(new.get("from_at"))
    if new_at is None or old_at is None or new_at < old_at:
        return dict(new or old)
    kept = round(new_at - old_at)
    result: dict[str, Any] = {}
    for name, values in new.items():
        before = old.get(name)
        if isinstance(values, list) and isinstance(before, list):
            result[name] = [*before[:kept], *values][-ROWS_KEPT:]
        else:
            result[name] = values
    longest = max((len(values) for values in result.values() if isinstance(values, list)), default=0)
    newest = max((len(values) for values in new.values() if isinstance(values, list)), default=0)
    result["from_at"] = new_at + newest - longest
    return result


def _columns(members: Mapping[str, Any]) -> Mapping[str, Any]:
    columns = members.get("history")
    return columns if isinstance(columns, Mapping) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)

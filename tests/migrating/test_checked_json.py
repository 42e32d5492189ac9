"""JSON from somebody who is not trusted: every value is what its class says, or the error says which one is not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.migrating.checked_json import LARGEST, LONGEST, MOST, FormError, read


@dataclass
class Inner:
    count: int = field(default=1, metadata={"least": 1})
    note: str = field(default="", metadata={"longest": 10})


@dataclass
class Outer:
    text: str = ""
    flag: bool = False
    share: float = 0.0
    limit: int | float | str | None = None
    kind: Literal["a", "b"] = "a"
    names: list[str] = field(default_factory=list)
    pairs: list[tuple[str, float]] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    inner: Inner | None = None


WHOLE: dict[str, Any] = {
    "text": "é",
    "flag": True,
    "share": 1,
    "limit": None,
    "kind": "b",
    "names": ["x"],
    "pairs": [["y", 2.5]],
    "words": {"k": "v"},
    "inner": {"count": 3, "note": "short"},
}

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class ReadTests(SynchronousTestCase):
    def problem(self, data: bytes) -> str:
        return str(self.assertRaises(FormError, read, Outer, data))

    def changed(self, **values: Any) -> str:
        """What is wrong if these values change."""
        return self.problem(json.dumps({**WHOLE, **values}).encode())

    def test_whole(self) -> None:
        """An object with all of its values; a whole number may stand for any other."""
        found = read(Outer, json.dumps(WHOLE).encode())
        self.assertEqual(found, Outer("é", True, 1.0, None, "b", ["x"], [("y", 2.5)], {"k": "v"}, Inner(3, "short")))
        self.assertIsInstance(found.share, float)
        for limit in (-5, 2.5, "none"):
            self.assertEqual(read(Outer, json.dumps({**WHOLE, "limit": limit}).encode()).limit, limit)

    def test_kinds(self) -> None:
        """A value of another kind is named with its place, what it has to be, and what it is."""
        for values, why in (
            ({"text": 5}, "text must be text, not 5"),
            ({"text": None}, "text must be text, not null"),
            ({"flag": 1}, "flag must be true or false, not 1"),
            ({"share": True}, "share must be a number, not true"),
            ({"share": "1"}, 'share must be a number, not "1"'),
            ({"limit": [1]}, "limit must be a whole number or a number or text or null, not a list"),
            ({"kind": "c"}, 'kind must be one of a, b, not "c"'),
            ({"kind": {}}, "kind must be one of a, b, not an object"),
            ({"names": {}}, "names must be a list, not an object"),
            ({"names": ["a", 2]}, "names[1] must be text, not 2"),
            ({"pairs": [["a", 1.0], ["b"]]}, "pairs[1] must have 2 items, not 1"),
            ({"pairs": [["a", "b"]]}, 'pairs[0][1] must be a number, not "b"'),
            ({"words": {"k": 1}}, 'words."k" must be text, not 1'),
            ({"inner": []}, "inner must be an object or null, not a list"),
            ({"inner": {"count": 1}}, "inner.note is missing"),
            ({"inner": {"count": 0, "note": ""}}, "inner.count must be 1 or more, not 0"),
            ({"inner": {"count": 1.5, "note": ""}}, "inner.count must be a whole number, not 1.5"),
            ({"inner": {"count": 1, "note": "", "more": 2}}, 'inner."more" is not known'),
            ({"more": 1}, '"more" is not known'),
        ):
            self.assertEqual(self.changed(**values), why)
        self.assertEqual(self.problem(b"[]"), "it must be an object, not a list")
        self.assertEqual(self.problem(b"{}"), "text is missing")

    def test_sizes(self) -> None:
        """Texts, lists and numbers have a limit."""
        for values, why in (
            ({"text": "x" * (LONGEST + 1)}, f"text has {LONGEST + 1} characters; {LONGEST} are allowed"),
            ({"inner": {"count": 1, "note": "x" * 11}}, "inner.note has 11 characters; 10 are allowed"),
            ({"names": ["x"] * (MOST + 1)}, f"names has {MOST + 1} items"),
            ({"words": dict.fromkeys(map(str, range(MOST + 1)), "x")}, f"words has {MOST + 1} items"),
            ({"words": {"x" * (LONGEST + 1): "x"}}, "a name in words has"),
            ({"limit": LARGEST + 1}, "limit is too large a number"),
            ({"inner": {"count": -LARGEST - 1, "note": ""}}, "inner.count is too large a number"),
        ):
            said = self.changed(**values)
            self.assertIn(why, said)
            self.assertLess(len(said), 200)
        self.assertIn("a number of 5000 digits", self.problem(b'{"text": ' + b"9" * 5000 + b"}"))
        self.assertIn(
            "share is too large a number", self.problem(json.dumps(WHOLE).encode().replace(b": 1,", b": 1e999,"))
        )

    def test_no_json(self) -> None:
        """What is no JSON, or is none that everybody reads, is said without a traceback."""
        whole = json.dumps(WHOLE).encode()
        for data, why in (
            (b"", "it is not JSON: "),
            (whole[:-1], "it is not JSON: "),
            (whole + b"x", "it is not JSON: Extra data"),
            (b"\xff\xfe{}", "it is not UTF-8: invalid start byte at byte 0"),
            (whole.decode().encode("utf-16"), "it is not UTF-8"),
            (b"[" * 10**6, "it is nested too deeply"),
            (whole.replace(b": 1,", b": NaN,"), "it is not JSON: NaN is no number of JSON"),
            (whole.replace(b": 1,", b": -Infinity,"), "-Infinity is no number"),
        ):
            self.assertIn(why, self.problem(data))

    def test_surrogates(self) -> None:
        """Half of a surrogate pair, which no text file can hold, is replaced."""
        found = read(Outer, json.dumps({**WHOLE, "text": "a\ud800b"}).encode())
        self.assertEqual(found.text, "a?b")

    @given(st.dictionaries(st.sampled_from([*WHOLE, "other"]), ANYTHING))
    def test_anything(self, values: dict[str, Any]) -> None:
        """Whatever stands there, it is read or refused, and what is read can be written as UTF-8."""
        try:
            found = read(Outer, json.dumps({**WHOLE, **values}).encode())
        except FormError as error:
            self.assertTrue(str(error).isprintable() or not str(error).isascii())
        else:
            repr(found).encode("utf-8")

    @given(st.binary(max_size=40), st.integers(0, 150), st.integers(0, 40))
    def test_damaged(self, piece: bytes, at: int, length: int) -> None:
        """So is a message of which a part was replaced."""
        whole = json.dumps(WHOLE).encode()
        try:
            read(Outer, whole[:at] + piece + whole[at + length :])
        except FormError:
            pass

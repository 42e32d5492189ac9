"""A document of any shape can be read, and events are merged into it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.top.documents import NOW, request, worker
from vespa.top.document import REQUESTS_KEPT, ROWS_KEPT, Document, merged

ANY: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


class ReadingTests(SynchronousTestCase):
    def test_members(self) -> None:
        """Each kind of member is read as what it is."""
        document = Document({"n": 3, "t": "text", "yes": True, "texts": ["a", 1], "rows": [{"a": 1}, 2]})
        self.assertEqual((document.number("n"), document.text("t"), document.flag("yes")), (3.0, "text", True))
        self.assertEqual((document.texts("texts"), document.rows("rows")), (["a"], [{"a": 1}]))

    def test_wrong_types(self) -> None:
        """A member that is missing, null or of another type is nothing."""
        members = {"a": None, "b": True, "c": "3", "d": float("inf"), "e": {"x": 1}}
        document = Document(members)
        for name in (*members, "missing"):
            self.assertIsNone(document.number(name), name)
            self.assertEqual((document.texts(name), document.rows(name)), ([], []))
        self.assertEqual([document.text(name) for name in ("a", "b", "d", "e", "missing")], [""] * 5)
        self.assertFalse(document.flag("c"))

    def test_rest(self) -> None:
        """What nobody read is left over, except what is empty or has no single value."""
        document = Document({"kind": "worker", "read": 1, "new_seconds": 2.5, "empty": "", "list": [1], "none": None})
        document.number("read")
        self.assertEqual(list(document.rest()), [("new_seconds", 2.5)])

    def test_since(self) -> None:
        """A time is a distance from the document's own; one in the future is now."""
        document = Document({"now_at": 100.0, "a_at": 97.5, "b_at": 101.0})
        self.assertEqual((document.since("a_at"), document.since("b_at"), document.since("c_at")), (2.5, 0.0, None))

    def test_history(self) -> None:
        """A figure's values, with gaps; nothing without them."""
        self.assertEqual(Document(worker()).history("throughput"), [0.0, 400.0, None, 800.0])
        for members in ({}, {"history": 3}, {"history": {"throughput": 3}}):
            self.assertEqual(Document(members).history("throughput"), [])


class MergeTests(SynchronousTestCase):
    def test_figures(self) -> None:
        """Figures of the event replace the old ones; members that it does not have stay."""
        found = merged(worker(settings=[1]), {"load": 5.0})
        self.assertEqual((found["load"], found["settings"], found["queue_limit"]), (5.0, [1], 1000))

    def test_requests(self) -> None:
        """Requests are joined by their number, and only so many are kept."""
        found = merged(worker(), {"requests": [request(2), request(3)]})
        self.assertEqual([row["number"] for row in found["requests"]], [1, 2, 3])
        many = merged(found, {"requests": [request(number) for number in range(4, 200)]})
        self.assertEqual(len(many["requests"]), REQUESTS_KEPT)
        self.assertEqual(many["requests"][-1]["number"], 199)

    def test_history(self) -> None:
        """Rows of the same seconds are replaced, later ones are added, the oldest go."""
        event = {"history": {"from_at": NOW - 2.0, "step_seconds": 1, "throughput": [7.0, 800.0, 900.0]}}
        found = merged(worker(), event)["history"]
        self.assertEqual((found["from_at"], found["throughput"]), (NOW - 4.0, [0.0, 400.0, 7.0, 800.0, 900.0]))
        for second in range(100):
            event = {"history": {"from_at": NOW + second, "step_seconds": 1, "throughput": [float(second)]}}
            found = merged({"history": found}, event)["history"]
        self.assertEqual(len(found["throughput"]), ROWS_KEPT)
        self.assertEqual((found["throughput"][-1], found["from_at"]), (99.0, NOW + 100.0 - ROWS_KEPT))

    def test_restart(self) -> None:
        """A history that begins earlier, or that is the first, stands alone."""
        for members in ({}, worker()):
            event = {"history": {"from_at": NOW - 50.0, "throughput": [1.0]}}
            self.assertEqual(merged(members, event)["history"], event["history"])

    @given(st.dictionaries(st.sampled_from(["requests", "history", "load"]), ANY), ANY)
    def test_anything(self, event: dict[str, Any], columns: Any) -> None:
        """No event breaks the merge."""
        merged(worker(), event)
        merged(worker(), {"history": {"from_at": NOW, "throughput": columns}})
        merged({"history": {"from_at": columns, "throughput": [1]}}, worker())

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.accounting.backend_lines import BackendLines
from vespa.accounting.backend_slots import BackendSlots

events = st.lists(
    st.tuples(st.sampled_from(("add", "add", "moved", "remove", "take")), st.integers(0, 2), st.integers(0, 9)),
    max_size=40,
)


class BackendLinesTests(SynchronousTestCase):
    @given(events)
    def test_any_order(self, events: list[tuple[str, int, int]]) -> None:
        """In any order of events, the lines have the keys that a plain list has, and each is taken in its turn."""
        backends = [BackendSlots(1), BackendSlots(1)]
        lines: BackendLines[int] = BackendLines(backends)
        moved: list[int] = []
        others: list[tuple[int, BackendSlots | None]] = []
        for number, (what, where, which) in enumerate(events):
            pin = backends[where] if where < 2 else None
            if what == "add":
                lines.add(number, pin)
                others.append((number, pin))
            elif what == "moved":
                lines.add_moved(number)
                moved.append(number)
            elif what == "remove" and (keys := lines.in_order()):
                key = keys[which % len(keys)]
                lines.remove(key)
                moved = [each for each in moved if each != key]
                others = [each for each in others if each[0] != key]
            elif what == "take":
                backend, usable = backends[where % 2], which % 2 == 0
                may_have = [key for key, pin in others if pin is backend or (pin is None and usable)]
                fitting = [*(moved if usable else ()), *may_have]
                self.assertEqual(lines.take(backend, usable), fitting[0] if fitting else None)
                moved = [each for each in moved if each not in fitting[:1]]
                others = [each for each in others if each[0] not in fitting[:1]]
            self.assertEqual(lines.in_order(), [*moved, *(key for key, _ in others)])
            for backend in backends:
                self.assertEqual(lines.pinned_to(backend), [key for key, pin in others if pin is backend])

    def test_unknown(self) -> None:
        """A key that does not wait cannot be removed, nor can one that was taken."""
        backend = BackendSlots(1)
        lines: BackendLines[str] = BackendLines([backend])
        lines.add("a", None)
        self.assertEqual(lines.take(backend, True), "a")
        self.assertRaises(KeyError, lines.remove, "a")

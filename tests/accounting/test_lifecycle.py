from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.drawings import mermaid
from vespa.accounting.lifecycle import ENDS, REFUSAL_EVENT, TABLE, Event, State


class TableTests(SynchronousTestCase):
    def test_every_state_has_a_row(self) -> None:
        """The table knows every state, so looking one up never fails."""
        self.assertEqual(set(TABLE), set(State))

    def test_ends(self) -> None:
        """Exactly the five outcomes are ends: nothing follows them."""
        outcomes = {State.REFUSED, State.SERVED, State.UNSERVED, State.FAILED, State.CANCELLED}
        self.assertEqual({state for state, row in TABLE.items() if not row}, outcomes)
        self.assertEqual(ENDS, outcomes)

    def test_a_client_may_always_leave(self) -> None:
        """In every state that is no end the client can leave, and the request is cancelled."""
        for state in set(State) - ENDS:
            self.assertEqual(TABLE[state][Event.HANG_UP], State.CANCELLED)

    def test_we_may_always_refuse(self) -> None:
        """In every state that is no end an error of ours ends the request, by the event that is told for that state."""
        self.assertEqual(set(REFUSAL_EVENT), set(State) - ENDS)
        for state, event in REFUSAL_EVENT.items():
            self.assertIn(TABLE[state][event], (State.REFUSED, State.FAILED))

    def test_no_account_before_open(self) -> None:
        """An account begins with OPEN alone: before it a request can only end, refused or cancelled."""
        self.assertEqual(
            TABLE[State.READING],
            {Event.OPEN: State.RECEIVED, Event.REFUSE: State.REFUSED, Event.HANG_UP: State.CANCELLED},
        )

    def test_no_way_back(self) -> None:
        """Every step leads onward, so every request ends after at most five."""
        for state, row in TABLE.items():
            for target in row.values():
                self.assertGreater(target, state)

    def test_every_state_and_event_is_used(self) -> None:
        """There is a way to every state but the first, and every event leads somewhere."""
        self.assertEqual({s for row in TABLE.values() for s in row.values()}, set(State) - {State.READING})
        self.assertEqual({event for row in TABLE.values() for event in row}, set(Event))

    def test_frozen(self) -> None:
        """Nobody can add a step at run time."""
        with self.assertRaises(TypeError):
            TABLE[State.SERVED][Event.HANG_UP] = State.CANCELLED  # type: ignore[index]
        with self.assertRaises(TypeError):
            TABLE[State.SERVED] = {}  # type: ignore[index]


class DiagramTests(SynchronousTestCase):
    def test_drawn_from_the_table(self) -> None:
        """The diagram has an arrow for each step, one in, and one out of each end."""
        arrows = [line.strip() for line in mermaid(TABLE).splitlines()[1:]]
        steps = [f"{state.name} --> {row[event].name}: {event.name}" for state, row in TABLE.items() for event in row]
        self.assertEqual(
            sorted(arrows), sorted(["[*] --> READING", *steps, *(f"{state.name} --> [*]" for state in ENDS)])
        )

    def test_documented(self) -> None:
        """The diagram in the documentation is this one."""
        page = Path(__file__).parents[2] / "docs" / "architecture.md"
        if not page.exists():
            raise SkipTest("the documentation is not here")
        self.assertIn(mermaid(TABLE), page.read_text("utf-8"))

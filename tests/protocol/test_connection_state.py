"""
Both tables, walked at random beside models of their laws.

A model knows no states. It keeps what is true of the two messages, says by the laws which events may happen then, and
what the connection then is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from tests.drawings import mermaid
from vespa.protocol.connection_state import (
    CLIENT,
    SERVER,
    ClientEvent,
    ClientState,
    ServerEvent,
    ServerState,
    after,
)

CHOICES = st.integers(0, 5039)  # of the events that are possible: each is as likely as any other
Table = Mapping[Any, Mapping[Any, Any]]
TABLES: tuple[tuple[Table, type[IntEnum], type[IntEnum]], ...] = (
    (SERVER, ServerState, ServerEvent),
    (CLIENT, ClientState, ClientEvent),
)


class ServerLaws(RuleBasedStateMachine):
    """S1 to S7."""

    def __init__(self) -> None:
        super().__init__()
        self.begin()

    def begin(self) -> None:
        self.state = ServerState.IDLE
        self.head_begun = self.request_open = self.response_owed = False
        self.last = self.upgraded = self.truncated = self.closed = False

    @property
    def over(self) -> bool:
        """No more of HTTP: S4, S5, S6, S7."""
        return self.last or self.upgraded or self.truncated or self.closed

    def may(self, event: ServerEvent) -> bool:
        if event == ServerEvent.CLOSE:
            return not self.closed
        if self.over:
            return False
        if event in (ServerEvent.HEAD_PART, ServerEvent.REQUEST_HEAD, ServerEvent.REQUEST):
            return not self.request_open and not self.response_owed
        if event == ServerEvent.REQUEST_END:
            return self.request_open
        if event == ServerEvent.UPGRADE:
            return self.response_owed and not self.request_open
        return self.response_owed

    @precondition(lambda self: not self.closed)
    @rule(choice=CHOICES)
    def step(self, choice: int) -> None:
        row = SERVER[self.state]
        event = list(row)[choice % len(row)]
        if event == ServerEvent.HEAD_PART:
            self.head_begun = True
        elif event in (ServerEvent.REQUEST_HEAD, ServerEvent.REQUEST):
            self.head_begun = False
            self.response_owed = True
            self.request_open = event == ServerEvent.REQUEST_HEAD
        elif event == ServerEvent.REQUEST_END:
            self.request_open = False
        elif event == ServerEvent.UPGRADE:
            self.upgraded = True
        elif event == ServerEvent.TRUNCATE:
            self.truncated = True
        elif event == ServerEvent.CLOSE:
            self.closed = True
        else:
            self.response_owed = False
            if event == ServerEvent.RESPONSE_END_CLOSE:
                self.last = True
                self.closed = not self.request_open
        self.state = row[event]

    @precondition(lambda self: self.closed)
    @rule()
    def another(self) -> None:
        """Another connection."""
        self.begin()

    @invariant()
    def may_what_the_laws_allow(self) -> None:
        """The state's row has exactly the events that the laws allow."""
        assert set(SERVER[self.state]) == {event for event in ServerEvent if self.may(event)}, self.state.name

    @invariant()
    def is_what_the_messages_say(self) -> None:
        """The state agrees exactly with the messages."""
        if self.closed:
            expected = ServerState.CLOSED
        elif self.truncated:
            expected = ServerState.TRUNCATING
        elif self.upgraded:
            expected = ServerState.UPGRADED
        elif self.last:
            expected = ServerState.LINGERING
        elif self.request_open:
            expected = ServerState.BODY if self.response_owed else ServerState.DISCARDING
        elif self.response_owed:
            expected = ServerState.RESPONDING
        else:
            expected = ServerState.HEAD if self.head_begun else ServerState.IDLE
        assert self.state == expected


class ClientLaws(RuleBasedStateMachine):
    """C1 to C5."""

    def __init__(self) -> None:
        super().__init__()
        self.begin()

    def begin(self) -> None:
        self.state = ClientState.IDLE
        self.response_owed = self.response_begun = self.upgraded = self.closed = False

    def may(self, event: ClientEvent) -> bool:
        if self.closed:
            return False
        if event == ClientEvent.CLOSE:
            return True
        if self.upgraded:
            return False
        if event == ClientEvent.REQUEST:
            return not self.response_owed
        if event in (ClientEvent.RESPONSE_END, ClientEvent.RESPONSE_END_CLOSE):
            return self.response_begun
        return self.response_owed and not self.response_begun

    @precondition(lambda self: not self.closed)
    @rule(choice=CHOICES)
    def step(self, choice: int) -> None:
        row = CLIENT[self.state]
        event = list(row)[choice % len(row)]
        if event == ClientEvent.REQUEST:
            self.response_owed = True
        elif event == ClientEvent.RESPONSE_HEAD:
            self.response_begun = True
        elif event == ClientEvent.UPGRADE:
            self.upgraded = True
        elif event != ClientEvent.INTERIM:
            self.response_owed = self.response_begun = False
            self.closed = event not in (ClientEvent.RESPONSE, ClientEvent.RESPONSE_END)
        self.state = row[event]

    @precondition(lambda self: self.closed)
    @rule()
    def another(self) -> None:
        """Another connection."""
        self.begin()

    @invariant()
    def may_what_the_laws_allow(self) -> None:
        """The state's row has exactly the events that the laws allow."""
        assert set(CLIENT[self.state]) == {event for event in ClientEvent if self.may(event)}, self.state.name

    @invariant()
    def is_what_the_messages_say(self) -> None:
        """The state agrees exactly with the messages."""
        if self.closed:
            expected = ClientState.CLOSED
        elif self.upgraded:
            expected = ClientState.UPGRADED
        elif self.response_begun:
            expected = ClientState.RECEIVING
        else:
            expected = ClientState.AWAITING if self.response_owed else ClientState.IDLE
        assert self.state == expected


class LawTests(SynchronousTestCase):
    def test_server(self) -> None:
        """A server's connection keeps S1 to S7, whatever happens in whatever order."""
        run_state_machine_as_test(ServerLaws)

    def test_client(self) -> None:
        """A client's connection keeps C1 to C5, whatever happens in whatever order."""
        run_state_machine_as_test(ClientLaws)


class TableTests(SynchronousTestCase):
    def test_every_state_has_a_row(self) -> None:
        """A table has every state, so a look-up never fails."""
        for table, states, _ in TABLES:
            self.assertEqual(set(table), set(states))

    def test_every_state_and_event_is_used(self) -> None:
        """There is a way from IDLE to every state, and every event leads somewhere."""
        for table, states, events in TABLES:
            found = {states["IDLE"]}
            for _ in states:
                found |= {target for state in found for target in table[state].values()}
            self.assertEqual(found, set(states))
            self.assertEqual({event for row in table.values() for event in row}, set(events))

    def test_closed_is_the_end(self) -> None:
        """Closing is possible in every state but CLOSED, leads there at once, and nothing follows."""
        for table, states, events in TABLES:
            for state, row in table.items():
                if state is states["CLOSED"]:
                    self.assertEqual(row, {})
                else:
                    self.assertIs(row[events["CLOSE"]], states["CLOSED"])

    def test_frozen(self) -> None:
        """The tables cannot be changed at run time."""
        with self.assertRaises(TypeError):
            SERVER[ServerState.CLOSED] = {}  # type: ignore[index]
        with self.assertRaises(TypeError):
            CLIENT[ClientState.CLOSED][ClientEvent.REQUEST] = ClientState.AWAITING  # type: ignore[index]

    def test_after(self) -> None:
        """What follows each state by one event is what the table says, for those states that know the event."""
        for event in ServerEvent:
            expected = {state: row[event] for state, row in SERVER.items() if event in row}
            self.assertEqual(after(SERVER, event), expected)
        self.assertEqual(after(CLIENT, ClientEvent.REQUEST), {ClientState.IDLE: ClientState.AWAITING})

    def test_drawn_from_the_tables(self) -> None:
        """A diagram has an arrow for each step, one in at IDLE, and one out of CLOSED."""
        for table, _, _ in TABLES:
            head, *arrows = (line.strip() for line in mermaid(table).splitlines())
            steps = [
                f"{state.name} --> {row[event].name}: {event.name}" for state, row in table.items() for event in row
            ]
            self.assertEqual(head, "stateDiagram-v2")
            self.assertEqual(sorted(arrows), sorted(["[*] --> IDLE", *steps, "CLOSED --> [*]"]))

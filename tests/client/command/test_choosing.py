"""Laws of the questions that the command asks."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.console import RenderableType
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import Asked, FakeAgent
from tests.runtime.test_terminal import FakeTerminal
from vespa.client.command.choosing import TRIES, choose, endpoints_of, table
from vespa.client.command.launch import LaunchError
from vespa.client.console import Console, ConsoleError, EndpointInfo, KeyRefused
from vespa.config.client import ClientSettings
from vespa.runtime.http_client import BoundedClient
from vespa.runtime.terminal import Terminal

KEY = "account-key-3141"
ROWS = [
    {"id": 11, "endpoint_name": "chat", "api_key": "chat-key"},
    {"id": 12, "endpoint_name": "images", "api_key": "images-key"},
]


class Somebody:
    """Answers from a list, then no more."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.hidden: list[str] = []
        self.said = ""

    async def ask(self, prompt: str, *, hidden: bool = False) -> str:
        self.asked.append(prompt)
        if hidden:
            self.hidden.append(prompt)
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)

    def say(self, text: RenderableType) -> None:
        self.said += drawn(text)


def drawn(text: RenderableType) -> str:
    """The text that is sent to a pipe."""
    stream = io.StringIO()
    Terminal(stream, {}).print(text)
    return stream.getvalue()


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.rows: list[dict[str, Any]] = ROWS
        self.status = 0
        self.agent = FakeAgent(self.answer)
        self.console = Console("https://console.example", BoundedClient(self.agent, Clock()))

    def answer(self, asked: Asked) -> None:
        is_right = asked.headers.getRawHeaders("authorization") == [f"Bearer {KEY}"]
        asked.answer(self.status or (200 if is_right else 401), json.dumps({"results": self.rows}).encode())

    def choose(self, somebody: Somebody, *, port_given: bool = False, **fields: Any) -> Deferred[ClientSettings]:
        settings = ClientSettings(**{"endpoint": "", "account_key": KEY, **fields})
        return Deferred.fromCoroutine(choose(settings, self.console, somebody, port_given=port_given))

    def chosen(self, *answers: str, **more: Any) -> ClientSettings:
        somebody = Somebody(*answers)
        found: ClientSettings = self.successResultOf(self.choose(somebody, **more))
        self.assertEqual(somebody.answers, [])
        return found


class ChoiceTests(Case):
    def test_by_number_name_or_id(self) -> None:
        """An endpoint is chosen by its number in the list, its name, or its id; its own key is then known."""
        for answer in ("2", "images", "12"):
            found = self.chosen(answer, "")
            self.assertEqual((found.endpoint, found.endpoint_key, found.port), ("images", "images-key", 8010))

    def test_shown(self) -> None:
        """The list is shown before the question, with numbers and without keys."""
        somebody = Somebody("1", "")
        self.successResultOf(self.choose(somebody))
        self.assertIn("1  chat", somebody.said)
        self.assertIn("2  images", somebody.said)
        self.assertNotIn("chat-key", somebody.said)
        self.assertEqual(somebody.asked, ["Endpoint, 1 to 2: ", "Port [8010]: "])

    def test_asked_again(self) -> None:
        """An invalid answer gets a message and the question again: empty, a number too high, an unknown name."""
        somebody = Somebody("", "0", "3", "imags", "1", "x", "70000", "-1", "9000")
        found = self.successResultOf(self.choose(somebody))
        self.assertEqual((found.endpoint, found.port), ("chat", 9000))
        self.assertIn("did you mean images?", somebody.said)
        self.assertEqual(somebody.said.count("a port is a number"), 3)

    def test_single(self) -> None:
        """A single endpoint is chosen by an empty answer."""
        self.rows = ROWS[:1]
        self.assertEqual(self.chosen("", "").endpoint, "chat")

    def test_port_given(self) -> None:
        """A port that was given is not asked for."""
        self.assertEqual(self.chosen("1", port_given=True, port=0).port, 0)

    def test_endpoint_key(self) -> None:
        """With an endpoint's key there is no list to choose from: its name is asked for until there is one."""
        found = self.chosen("", "chat", "", endpoint_key="k", account_key="")
        self.assertEqual((found.endpoint, found.endpoint_key), ("chat", "k"))
        self.assertEqual(self.agent.asked, [])

    def test_name_with_control_characters(self) -> None:
        """An answer that no endpoint can be named by, as after an arrow key, is asked for again."""
        somebody = Somebody("cha\x1b[D", "chat", "")
        found = self.successResultOf(self.choose(somebody, endpoint_key="k", account_key=""))
        self.assertEqual((found.endpoint, somebody.answers), ("chat", []))
        self.assertIn("control characters", somebody.said)
        self.assertNotIn("\x1b", somebody.said)

    def test_nothing_to_choose(self) -> None:
        """An account without endpoints, and an endpoint without a key, are the end."""
        self.rows = []
        error = self.failureResultOf(self.choose(Somebody()), LaunchError).value
        self.assertEqual(str(error), "the account has no endpoints")
        self.rows = [{"id": 1, "endpoint_name": "chat"}]
        error = self.failureResultOf(self.choose(Somebody("1")), LaunchError).value
        self.assertIn("the key of endpoint chat", str(error))

    def test_end_of_input(self) -> None:
        """The end of the input ends the choice."""
        for answers in ((), ("1",)):
            self.failureResultOf(self.choose(Somebody(*answers)), EOFError)


class KeyTests(Case):
    def ask(self, somebody: Somebody | None, account_key: str = "") -> Deferred[tuple[str, list[EndpointInfo]]]:
        return Deferred.fromCoroutine(endpoints_of(self.console, account_key, somebody))

    def test_known(self) -> None:
        """A key that is known and good is not asked for."""
        somebody = Somebody()
        key, rows = self.successResultOf(self.ask(somebody, KEY))
        self.assertEqual((key, len(rows), somebody.asked), (KEY, 2, []))

    def test_asked(self) -> None:
        """A missing, refused or invalid key is asked for without an echo, and never shown."""
        for known in ("", "wrong-key"):
            somebody = Somebody("", "bad key", KEY)
            key, _ = self.successResultOf(self.ask(somebody, known))
            self.assertEqual((key, somebody.hidden), (KEY, somebody.asked))
            for wrong in ("wrong-key", "bad key", KEY):
                self.assertNotIn(wrong, somebody.said)

    def test_often(self) -> None:
        """A key is asked for a few times, not for ever."""
        somebody = Somebody(*["wrong"] * 10)
        self.failureResultOf(self.ask(somebody, "wrong"), KeyRefused)
        self.assertEqual(len(somebody.asked), TRIES)

    def test_nobody_to_ask(self) -> None:
        """Without a terminal, a refused key is an error at once."""
        self.failureResultOf(self.ask(None, "wrong"), KeyRefused)
        self.assertEqual(len(self.agent.asked), 1)

    def test_not_the_key_s_fault(self) -> None:
        """Another key is no help against a console that is unwell."""
        self.status = 500
        somebody = Somebody(KEY)
        self.failureResultOf(self.ask(somebody, KEY), ConsoleError)
        self.assertEqual(somebody.asked, [])


class TableTests(SynchronousTestCase):
    def test_columns(self) -> None:
        """Columns stand under their headings; what is not known has a dash."""
        rows = [
            EndpointInfo(id=1, name="chat", api_key="k", state="active", cold_workers=1, max_workers=16, min_load=0.5),
            EndpointInfo(id=22, name="a-long-name", api_key=""),
        ]
        self.assertEqual(
            [line.rstrip() for line in drawn(table(rows)).splitlines()],
            [
                "name         id  state   cold workers  max workers  min load  target use",
                "chat         1   active  1             16           0.5       -",
                "a-long-name  22  ?       -             -            -         -",
            ],
        )
        self.assertTrue(drawn(table(rows, numbered=True)).splitlines()[2].startswith("2  a-long-name"))

    def test_narrow(self) -> None:
        """On a narrow terminal nothing of a name is cut."""
        stream = FakeTerminal()
        Terminal(stream, {"NO_COLOR": "1"}, width=45).print(table([EndpointInfo(id=1, name="x" * 60, api_key="")]))
        self.assertTrue(all(len(line) <= 45 for line in stream.getvalue().splitlines()))
        self.assertEqual(stream.getvalue().count("x"), 61)  # one more in a heading

    def test_hostile(self) -> None:
        """A name that looks like markup is shown as it is."""
        self.assertIn("[red]x[/red]", drawn(table([EndpointInfo(id=1, name="[red]x[/red]", api_key="")])))

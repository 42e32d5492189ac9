"""The endpoint's key, given or looked up."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vespa.client.console import ConsoleError, EndpointInfo
from vespa.client.endpoint_key import HARD_SECONDS, SOFT_SECONDS, EndpointKey


class FakeConsole:
    """A console whose responses the test triggers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answers: list[Deferred[Any]] = []

    async def endpoint(self, account_key: str, name: str) -> EndpointInfo:
        self.asked.append((account_key, name))
        self.answers.append(Deferred())
        return await self.answers[-1]

    async def endpoint_again(self, account_key: str, number: int) -> EndpointInfo | None:
        self.asked.append((account_key, f"id {number}"))
        self.answers.append(Deferred())
        found: EndpointInfo | None = await self.answers[-1]
        return found


class EndpointKeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.console: Any = FakeConsole()
        self.clock = Clock()

    def key(self, given: str = "") -> EndpointKey:
        return EndpointKey("demo", self.clock, given=given, account_key="account-key", console=self.console)

    def answer(self, key: str) -> None:
        self.console.answers[-1].callback(EndpointInfo(id=1, name="demo", api_key=key))

    def test_looked_up_once_for_all(self) -> None:
        """All who need it at the same time wait for one response; later it is known."""
        key = self.key()
        first, second = key.find(), key.find()
        self.answer("k1")
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), ("k1", "k1"))
        self.assertEqual(key.value, "k1")
        self.assertEqual(self.console.asked, [("account-key", "demo")])

    def test_by_its_id(self) -> None:
        """Once the endpoint was found, the console is asked for it alone."""
        key = self.key()
        key.find()
        self.answer("k1")
        found = key.find()
        self.assertEqual(self.console.asked[1:], [("account-key", "id 1")])
        self.answer("k2")
        self.assertEqual((self.successResultOf(found), key.value), ("k2", "k2"))

    def test_made_anew(self) -> None:
        """An endpoint that was deleted and made anew is found by its name."""
        key = self.key()
        key.find()
        self.answer("k1")
        found = key.find()
        self.console.answers[-1].callback(None)
        self.assertEqual(self.console.asked[1:], [("account-key", "id 1"), ("account-key", "demo")])
        self.console.answers[-1].callback(EndpointInfo(id=9, name="demo", api_key="k9"))
        self.assertEqual((self.successResultOf(found), key.value), ("k9", "k9"))
        key.find()
        self.assertEqual(self.console.asked[-1], ("account-key", "id 9"))

    def test_failure_is_told_and_forgotten(self) -> None:
        """The next need asks again."""
        key = self.key()
        first = key.find()
        self.console.answers[-1].errback(ConsoleError("away"))
        self.failureResultOf(first, ConsoleError)
        second = key.find()
        self.answer("k1")
        self.assertEqual(self.successResultOf(second), "k1")

    def test_cancelled_by_one(self) -> None:
        """Cancelling one caller's look-up does not affect the others."""
        key = self.key()
        first, second = key.find(), key.find()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.answer("k1")
        self.assertEqual(self.successResultOf(second), "k1")

    def test_given(self) -> None:
        """A given key is used, and looked up again if it is refused and an account's key is set."""
        key = self.key("given")
        self.assertEqual(key.value, "given")
        self.assertTrue(key.may_look_up())
        found = key.find()
        self.assertEqual(key.value, "given")  # until there is another
        self.answer("new")
        self.assertEqual((self.successResultOf(found), key.value), ("new", "new"))
        self.assertFalse(EndpointKey("demo", self.clock, given="given").may_look_up())

    def test_refused_again(self) -> None:
        """A key that was just found is not looked up again at once, and a look-up that failed does not take it away."""
        key = self.key()
        found = key.find()
        self.answer("k1")
        self.successResultOf(found)
        self.assertFalse(key.may_look_up())
        self.clock.advance(31)
        self.assertTrue(key.may_look_up())
        found = key.find()
        self.console.answers[-1].errback(ConsoleError("away"))
        self.failureResultOf(found, ConsoleError)
        self.assertEqual(key.value, "k1")
        self.assertFalse(key.may_look_up())

    def test_hidden(self) -> None:
        """No text of others' shows a key."""
        key = self.key("k-123456")
        key.find()
        self.answer("k-new-1234")
        text = "k-123456, k-new-1234 and account-key"
        self.assertEqual(key.hidden_in(text), "[hidden], [hidden] and [hidden]")

    def test_named_by_its_id(self) -> None:
        """The autoscaler knows endpoints by their names only."""
        key = EndpointKey("1", self.clock, account_key="account-key", console=self.console)
        found = key.find()
        self.answer("k1")
        self.assertEqual((self.successResultOf(found), key.name), ("k1", "demo"))

    def test_no_key(self) -> None:
        """Without a key, or with one that would break a header, there is nothing to start with."""
        for given in ("", "a\r\nX: y", "k\u00e9y", "a b"):
            self.assertRaises(ValueError, EndpointKey, "demo", self.clock, given=given)

    def test_looked_up_again(self) -> None:
        """After three days beside its use, and until it is answered; after six before it is used again."""
        key = self.key("k0")
        self.assertEqual((key.current(), self.console.asked), ("k0", []))
        self.clock.advance(SOFT_SECONDS)
        self.assertEqual((key.current(), key.current(), len(self.console.asked)), ("k0", "k0", 1))
        self.console.answers[-1].errback(ConsoleError("away"))
        self.assertEqual((key.current(), len(self.console.asked)), ("k0", 1))
        self.clock.advance(3600)
        self.assertEqual((key.current(), len(self.console.asked)), ("k0", 2))
        self.answer("k1")
        self.assertEqual(key.current(), "k1")
        self.clock.advance(HARD_SECONDS)
        self.assertEqual(key.current(), "")
        key.find()
        self.answer("k2")
        self.assertEqual(key.current(), "k2")

    def test_given_for_good(self) -> None:
        """A key that cannot be looked up stays."""
        key = EndpointKey("demo", self.clock, given="k0")
        self.clock.advance(2 * HARD_SECONDS)
        self.assertEqual(key.current(), "k0")

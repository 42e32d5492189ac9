"""A session within a program, whatever loop it has; with sessions that are none, and with a real proxy."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.client.embedding import Stub, StubClient
from vespa.client import SessionError, VastClient, VastSession
from vespa.client.sessions.table import ClientSession
from vespa.protocol.refusal import Refusal


class FakeSessions:
    """Sessions that open at once, or never."""

    def __init__(self) -> None:
        self.wanted: list[tuple[Any, ...]] = []
        self.ended: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.refusal: Refusal | None = None
        self.hangs = False

    def open(self, *wanted: Any) -> Deferred[ClientSession]:
        self.wanted.append(wanted)
        self.threads.add(threading.current_thread())
        if self.refusal is not None:
            return fail(self.refusal)
        return Deferred() if self.hangs else succeed(ClientSession(wanted[0], wanted[1], wanted[2], 0.0, id="abc"))

    def end(self, name: str) -> Deferred[None]:
        self.ended.append(name)
        return succeed(None)


class SessionStub(Stub):
    """A service with sessions."""

    def __init__(self, reactor: Any, port: int) -> None:
        super().__init__(reactor, port)
        self.sessions = FakeSessions()


def make_client(**settings: Any) -> StubClient:
    return StubClient(make=SessionStub, **settings)


def sessions_of(client: StubClient) -> FakeSessions:
    stub: Any = client.stubs[-1]
    found: FakeSessions = stub.sessions
    return found


class ThreadTests(SynchronousTestCase):
    def test_with(self) -> None:
        """A plain `with` opens a session and ends it, in the proxy's thread."""
        with make_client(default_cost=3.0) as client:
            with client.session(lifetime=300, on_close_route="/bye", on_close_payload={"x": 1}) as session:
                self.assertIsInstance(session, VastSession)
                self.assertEqual((session.id, session.url), ("abc", client.url))
                sessions = sessions_of(client)
                name = session.headers["X-Vespa-Session"]
                self.assertEqual(sessions.wanted, [(name, 3.0, 300, "/bye", {"x": 1})])
                self.assertEqual(sessions.ended, [])
                self.assertNotIn(name, repr(session))
            self.assertEqual(sessions.ended, [name])
            self.assertEqual(sessions.threads, {client.stubs[0].thread})

    def test_defaults(self) -> None:
        """Cost and lifetime have the client's defaults, and names differ."""
        with make_client(session_lifetime=7.0) as client, client.session(), client.session(cost=5):
            first, second = sessions_of(client).wanted
            self.assertEqual((first[1:], second[1:]), ((1.0, 7.0, "", None), (5, 7.0, "", None)))
            self.assertNotEqual(first[0], second[0])

    def test_async_with(self) -> None:
        """`async with` does the same under asyncio, also when the body raises."""

        async def main() -> None:
            async with make_client() as client:
                clients.append(client)
                async with client.session() as session:
                    names.append(session.headers["X-Vespa-Session"])
                    raise ZeroDivisionError

        clients: list[StubClient] = []
        names: list[str] = []
        self.assertRaises(ZeroDivisionError, asyncio.run, main())
        self.assertEqual(sessions_of(clients[0]).ended, names)

    def test_refused(self) -> None:
        """A session that no worker opens is an error with its code."""

        async def main() -> None:
            async with client.session():
                raise AssertionError("it was not opened")

        with make_client() as client:
            sessions_of(client).refusal = Refusal(502, "session_refused", "no worker opens it")
            error = self.assertRaises(SessionError, client.session().__enter__)
            self.assertEqual((error.code, str(error)), ("session_refused", "no worker opens it"))
            self.assertRaises(SessionError, asyncio.run, main())
            self.assertEqual(sessions_of(client).ended, [])

    def test_cancelled(self) -> None:
        """Who stops waiting leaves no session behind."""

        async def main() -> None:
            opening = asyncio.ensure_future(client.session().__aenter__())
            while not sessions.wanted:
                await asyncio.sleep(0.005)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)

        with make_client() as client:
            sessions = sessions_of(client)
            sessions.hangs = True
            asyncio.run(main())
        self.assertEqual(sessions.ended, [sessions.wanted[0][0]])

    def test_client_is_stopped(self) -> None:
        """Who waits for a session hears of the client's end, and a session outlives its client without an error."""

        async def main() -> None:
            client = make_client()
            await client.start()
            async with client.session():
                sessions_of(client).hangs = True
                opening = asyncio.ensure_future(client.session().__aenter__())
                while len(sessions_of(client).wanted) < 2:
                    await asyncio.sleep(0.005)
                await client.stop()
                (error,) = await asyncio.gather(opening, return_exceptions=True)
                self.assertIsInstance(error, RuntimeError)
                self.assertRaises(RuntimeError, client.session)

        asyncio.run(main())

    def test_not_started(self) -> None:
        """A client that is not started has no sessions."""
        self.assertRaises(RuntimeError, VastClient("demo", "k").session)

    def test_wrong(self) -> None:
        """Wrong values are an error at once."""
        wrong: tuple[dict[str, Any], ...] = (
            {"cost": -1.0},
            {"cost": float("nan")},
            {"lifetime": 0},
            {"lifetime": float("inf")},
            {"lifetime": 10**400},
            {"cost": 10**400},
            {"on_close_route": "http://other/"},
            {"on_close_route": "/a\nb"},
            {"on_close_payload": float("nan")},
        )
        with make_client() as client:
            for values in wrong:
                self.assertRaises(ValueError, client.session, **values)
            self.assertRaises(TypeError, client.session, on_close_payload=object())
            error = self.assertRaises(ValueError, client.session, on_close_payload={"job": 7})
            self.assertIn("needs an on_close_route", str(error))

    def test_entered_once(self) -> None:
        """A session that is entered again says so, and the first one goes on."""
        with make_client() as client:
            with client.session() as session:
                self.assertRaises(RuntimeError, session.__enter__)
                self.assertEqual(sessions_of(client).ended, [])
            self.assertRaises(RuntimeError, session.__enter__)
            self.assertEqual(len(sessions_of(client).wanted), 1)

    def test_number_types(self) -> None:
        """Any number will do, also one whose repr is none of JSON's."""
        with make_client() as client:
            with client.session(cost=True, lifetime=Decimal("1.5")):  # type: ignore[arg-type]
                pass
            self.assertEqual([repr(each) for each in sessions_of(client).wanted[0][1:3]], ["1.0", "1.5"])


class TwistedTests(TestCase):
    timeout = 20

    async def test_async_with(self) -> None:
        """Under Twisted it runs on the reactor, and a plain `with` is refused."""
        client = make_client(reactor=reactor)
        await client.start()
        async with client.session() as session:
            self.assertEqual(session.id, "abc")
            self.assertRaises(RuntimeError, client.session().__enter__)
        self.assertEqual(len(sessions_of(client).ended), 1)
        await client.stop()

    def test_cancelled(self) -> None:
        """A cancelled coroutine leaves no session behind."""
        client = make_client(reactor=reactor)

        async def main() -> None:
            await client.start()
            sessions = sessions_of(client)
            sessions.hangs = True
            opening = ensureDeferred(client.session().__aenter__())
            opening.addErrback(lambda failure: None)
            opening.cancel()
            self.assertEqual(len(sessions.ended), 1)
            await client.stop()

        return ensureDeferred(main())  # type: ignore[return-value]

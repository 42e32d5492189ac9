"""Whatever a client sends, all parsers read the same from what reaches the backend, and it is what was sent."""

from __future__ import annotations

from twisted.trial.unittest import FailTest, SynchronousTestCase, TestCase

from tests.seeds import examples

from . import subject
from .driver import shown
from .generated import Connection, generate
from .model import Verdict, differences, verdicts
from .parsers import by_all
from .peers import Backend, Client, Parties, connect
from .reader import Asked
from .waiting import turns

COUNT = examples(2000)
# Ends every connection: it is answered exactly if everything before it was understood as it was meant.
SENTINEL = b"GET /sentinel HTTP/1.1\r\nHost: sentinel\r\nConnection: close\r\n\r\n"


class Generated(SynchronousTestCase):
    """The generated requests are good for their purpose."""

    def test_meant(self) -> None:
        """What was meant to pass is what the model reads; enough of the rest is refused, and enough of it passes."""
        made = generate(COUNT)
        self.assertGreaterEqual(len(made), COUNT)
        kinds: dict[str, int] = {}
        for connection in made:
            found = verdicts(connection.raw + SENTINEL)
            if connection.meant is None:
                kinds[found[0].kind] = kinds.get(found[0].kind, 0) + 1
                continue
            self.assertEqual(
                [verdict.kind for verdict in found], ["forward"] * (len(connection.meant) + 1), connection.raw
            )
            for sent, verdict in zip(connection.meant, found, strict=False):
                assert verdict.request is not None
                got = verdict.request
                self.assertEqual((sent.method, sent.target, sent.body), (got.method, verdict.target, bytes(got.body)))
                self.assertEqual(list(sent.fields), got.fields)
        self.assertTrue(all(kinds[kind] > 100 for kind in ("forward", "refuse")), kinds)


class Exchange:
    """One generated connection, and what came of it."""

    def __init__(self, connection: Connection, client: Client, backend: Backend, expected: list[Verdict]) -> None:
        self.raw = connection.raw + SENTINEL
        self.client = client
        self.backend = backend
        self.expected = expected

    def fail(self, why: str) -> None:
        seen = b" | ".join(bytes(connection.received) for connection in self.backend.connections)
        kinds = [(verdict.kind, verdict.why, verdict.doubtful) for verdict in self.expected]
        raise FailTest(
            f"{why}\n  sent {shown(self.raw, 2000)}\n  model {kinds}\n  client got {shown(self.client.received, 2000)}"
            f"\n  backend got {shown(seen, 2000)}"
        )

    def check(self) -> None:
        """The responses and the backend's requests are those of the model; all parsers agree on the latter."""
        self.agreement()
        arrivals = [arrival.request for arrival in self.backend.complete]
        if any(verdict.doubtful for verdict in self.expected):
            return
        # Whether a head that cannot be read asks for HEAD is nobody's to say, so its refusal may have a body or not.
        unread = self.expected[-1].kind == "refuse" and self.expected[-1].request is None
        if self.client.feed.error is not None and not unread:
            self.fail(f"the client cannot read the responses: {self.client.feed.error!r}")
        answers = list(self.client.responses)
        for verdict in self.expected:
            if not answers:
                if not verdict.optional and verdict.kind != "unfinished":
                    self.fail(f"no response where the model says {verdict.kind}")
                break
            response = answers.pop(0)
            status = response.status
            if verdict.kind == "forward":
                if status != 200 or not arrivals:
                    self.fail(f"status {status} where the model passes the request on")
                assert verdict.request is not None
                if wrong := differences(verdict, arrivals.pop(0)):
                    self.fail("; ".join(wrong))
                if b"close" in response.tokens(b"connection") and verdict.request.tokens(b"expect"):
                    # Whether a body comes after a late or missing 100 is not known: a server may close instead.
                    break
            elif verdict.kind == "local":
                if status not in (200, 204):
                    self.fail(f"status {status} where the proxy answers itself")
            elif status < 400:
                self.fail(f"status {status} where the model says {verdict.kind}: {verdict.why}")
        if answers or arrivals:
            self.fail(f"more than the model knows: answers {answers}, at the backend {arrivals}")

    def agreement(self) -> None:
        """Each connection to the backend reads the same to all parsers, and to ours."""
        for connection in self.backend.connections:
            if connection.feed.error is not None and type(connection.feed.error).__name__ == "Malformed":
                self.fail(f"the backend cannot read what came: {connection.feed.error}")
            try:
                parsed = by_all(bytes(connection.received))
            except AssertionError as error:
                self.fail(str(error))
            ours = [arrival.request for arrival in connection.arrivals if arrival.request.complete]
            got = [(one.method, one.target, list(one.fields), one.body) for one in parsed]
            want = [
                (one.method, one.target, [(name.lower(), value) for name, value in one.fields], bytes(one.body))
                for one in ours
            ]
            if got != want:
                self.fail(f"the parsers read {got}, the strict reader {want}")


class Differential(TestCase):
    """Generated connections, over sockets."""

    skip = subject.missing()
    timeout = COUNT // 10

    async def test_generated(self) -> None:
        """Each connection comes out as the model says, and all parsers agree on what was passed on."""
        backend = await Backend.start(self)
        port = await subject.start(self, backend.port)
        wrong = []
        for number, connection in enumerate(generate(COUNT)):
            try:
                await self.exchange(connection, backend, port)
            except FailTest as error:
                wrong.append(f"connection {number}: {error}")
        if wrong:
            raise FailTest("\n".join([f"{len(wrong)} of {COUNT} went wrong", *wrong[:10]]))

    async def exchange(self, connection: Connection, backend: Backend, port: int) -> None:
        backend.forget()
        raw = connection.raw + SENTINEL
        expected = verdicts(raw)
        asked: list[Asked] = []
        for verdict in expected:
            request = verdict.request
            asked.append((request.method, request.version) if request is not None else (b"GET", 1))
        client = await connect(self, port, asked)
        backend.parties = Parties(client, backend)
        exchange = Exchange(connection, client, backend, expected)
        client.transport.write(raw)
        try:
            sure = next(
                (n for n, verdict in enumerate(expected) if verdict.doubtful or verdict.kind == "unfinished"), None
            )
            if sure is not None:
                # Only now may the client say that no more will come: before, it would look like leaving.
                if sure:
                    await client.answered(sure)
                await turns(4)
                if client.lost is None:
                    client.transport.loseWriteConnection()
            await client.gone()
            for lost in backend.connections:
                if any(not arrival.request.complete for arrival in lost.arrivals):
                    await lost.changes.until(lambda c=lost: c.lost is not None, "a begun request to be cut")
        except FailTest as error:
            exchange.fail(str(error))
        exchange.check()

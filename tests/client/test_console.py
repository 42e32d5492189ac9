"""Laws of the console as the client asks it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.fakes import Asked, FakeAgent, FakeResponse
from vespa.client.console import RESPONSE_LIMIT, Console, ConsoleError, EndpointInfo
from vespa.runtime.http_client import BoundedClient
from vespa.simulator.autoscaler import endpoint_row

KEY = "account-key-3141"
URL = "https://console.example"


def row(id: int = 1, name: object = "chat", **more: object) -> dict[str, Any]:
    return {"id": id, "endpoint_name": name, "api_key": f"key-of-{id}", **more}


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.agent = FakeAgent()
        self.console = Console(URL + "/", BoundedClient(self.agent, self.clock))

    @property
    def asked(self) -> Asked:
        return self.agent.asked[-1]

    def listed(self, body: object, status: int = 200) -> Deferred[list[EndpointInfo]]:
        result = Deferred.fromCoroutine(self.console.endpoints(KEY))
        self.asked.answer(status, body if isinstance(body, bytes) else json.dumps(body).encode())
        return result

    def rows(self, *rows: object) -> list[EndpointInfo]:
        return self.successResultOf(self.listed({"results": rows}))

    def error(self, result: Deferred[Any]) -> ConsoleError:
        error: ConsoleError = self.failureResultOf(result, ConsoleError).value
        self.assertNotIn(KEY, str(error))
        self.assertNotIn(KEY, repr(error))
        return error


class ListTests(Case):
    def test_asked(self) -> None:
        """The instance is in the query, the key in the Authorization field and nowhere else."""
        for instance in ("prod", "alpha"):
            console = Console(URL, BoundedClient(self.agent, self.clock), instance=instance)
            Deferred.fromCoroutine(console.endpoints(KEY))
            asked = self.asked
            self.assertEqual(
                (asked.method, asked.url),
                ("GET", f"{URL}/api/v0/endptjobs/?client_id=me&autoscaler_instance={instance}"),
            )
            self.assertEqual(asked.headers.getRawHeaders("authorization"), [f"Bearer {KEY}"])

    def test_row(self) -> None:
        """A row is read whole, as the simulator's console writes it."""
        (info,) = self.rows(endpoint_row(7, "chat", "secret-7", 1.0))
        self.assertEqual(
            info,
            EndpointInfo(
                id=7,
                name="chat",
                api_key="secret-7",
                state="active",
                cold_workers=1,
                max_workers=4,
                min_load=1.0,
                target_util=0.9,
                cold_mult=2.5,
            ),
        )
        self.assertNotIn("secret-7", repr(info))

    def test_order(self) -> None:
        """Endpoints come by name, whatever its case."""
        names = [info.name for info in self.rows(row(3, "b"), row(1, "C"), row(2, "a"))]
        self.assertEqual(names, ["a", "b", "C"])

    def test_sparse(self) -> None:
        """Fields that are only displayed may be missing or malformed; a row without a name is skipped."""
        rows = self.rows(
            {"id": 1, "endpoint_name": "a", "min_load": "x", "max_workers": True, "endpoint_state": 3},
            {"id": 2, "endpoint_name": None, "api_key": "k"},
            {"id": 3},
        )
        self.assertEqual(rows, [EndpointInfo(id=1, name="a", api_key="")])

    def test_none(self) -> None:
        """An account may have no endpoints."""
        self.assertEqual(self.rows(), [])

    def test_malformed(self) -> None:
        """A response that is no list of endpoints is an error that shows nothing of it."""
        bodies: tuple[Any, ...] = (
            b"",
            b"<html>key-of-1</html>",
            b"\xff",
            b"[" * 100_000,
            [],
            {},
            {"results": None},
            {"results": {"key-of-1": 1}},
            {"results": ["key-of-1"]},
            {"results": [{**row(), "id": "1", "api_key": "key-of-1"}]},
            {"results": [row(True)]},
            {"results": [row(1, 2)]},
            {"results": [row(1, "a\x1b[2J")]},
            {"results": [row(1, "a" * 2000)]},
            {"results": [{**row(), "api_key": "key-of-1\r\nX: y"}]},
            {"results": [{**row(), "api_key": 5}]},
        )
        for body in bodies:
            error = self.error(self.listed(body))
            self.assertIn("sent a malformed list of endpoints", str(error))
            self.assertNotIn("key-of-1", str(error))

    def test_long(self) -> None:
        """A response without end is given up at a limit, a broken one is not taken for whole."""
        error = self.error(self.listed(b" " * (RESPONSE_LIMIT + 1)))
        self.assertIn("is incomplete", str(error))
        result = Deferred.fromCoroutine(self.console.endpoints(KEY))
        self.asked.result.callback(FakeResponse(200, b'{"results": []}', end=ConnectionRefusedError()))
        self.assertIn("is incomplete", str(self.error(result)))

    def test_statuses(self) -> None:
        """A refusal says whose fault it is, and whether to ask again can help."""
        for status, text, final in (
            (401, "does not accept the account key", True),
            (403, "does not let this account key", True),
            (404, "check its address", True),
            (302, "check its address", True),
            (400, "answered 400", True),
            (429, "too many requests", False),
            (500, "answered 500", False),
            (503, "answered 503", False),
        ):
            error = self.error(self.listed({"results": [row()]}, status))
            self.assertIn(text, str(error))
            self.assertIn(URL, str(error))
            self.assertIs(error.final, final, status)

    def test_redirect(self) -> None:
        """The key follows no redirect."""
        Deferred.fromCoroutine(self.console.endpoints(KEY)).addErrback(lambda _: None)
        self.asked.result.callback(FakeResponse(302, headers=Headers({"Location": ["http://evil.example/"]})))
        self.assertEqual(len(self.agent.asked), 1)

    def test_network(self) -> None:
        """A network error is reported as one that a retry may solve."""
        result = Deferred.fromCoroutine(self.console.endpoints(KEY))
        self.asked.fail(ConnectionRefusedError())
        error = self.error(result)
        self.assertIn("cannot be reached: Connection was refused", str(error))
        self.assertFalse(error.final)

    def test_silence(self) -> None:
        """A console that says nothing is given up after the timeout."""
        result = Deferred.fromCoroutine(self.console.endpoints(KEY))
        self.clock.advance(10.0)
        self.assertIn("no response in 10 s", str(self.error(result)))

    def test_bad_key(self) -> None:
        """An invalid key is never sent."""
        for key in ("", "a b", "a\r\nX: y", "ключ"):
            error = self.failureResultOf(Deferred.fromCoroutine(self.console.endpoints(key)), ConsoleError).value
            self.assertTrue(error.final)
        self.assertEqual(self.agent.asked, [])

    @given(st.binary(max_size=200))
    def test_any_bytes(self, body: bytes) -> None:
        """Any response of a console gives endpoints or a ConsoleError."""
        self.setUp()
        result: list[object] = []
        self.listed(body).addBoth(result.append)
        value = getattr(result[0], "value", result[0])
        self.assertIsInstance(value, list | ConsoleError)


class AgainTests(Case):
    def again(self, body: object, status: int = 200) -> Deferred[EndpointInfo | None]:
        result = Deferred.fromCoroutine(self.console.endpoint_again(KEY, 7))
        self.asked.answer(status, body if isinstance(body, bytes) else json.dumps(body).encode())
        return result

    def test_asked(self) -> None:
        """One endpoint is asked for by its id, and read as the simulator's console writes it."""
        found = self.successResultOf(self.again({"result": endpoint_row(7, "chat", "secret-7", 1.0)}))
        self.assertEqual((self.asked.method, self.asked.url), ("GET", f"{URL}/api/v0/endptjobs/7/"))
        self.assertEqual(self.asked.headers.getRawHeaders("authorization"), [f"Bearer {KEY}"])
        assert found is not None
        self.assertEqual((found.id, found.name, found.api_key), (7, "chat", "secret-7"))

    def test_not_there(self) -> None:
        """Anything but that endpoint with its key is none: the list of endpoints decides then."""
        for status, body in (
            (404, b""),
            (403, b"no"),
            (302, b""),
            (200, b"<html>"),
            (200, {"results": [row(7)]}),
            (200, {"result": row(8)}),
            (200, {"result": row(7, None)}),
            (200, {"result": {**row(7), "api_key": ""}}),
            (200, {"result": {**row(7), "api_key": "a b"}}),
            (200, b" " * (RESPONSE_LIMIT + 1)),
        ):
            self.assertIsNone(self.successResultOf(self.again(body, status)), (status, body))

    def test_again_later(self) -> None:
        """A console that is away or busy, and a refused key, are errors."""
        for status, final in ((401, True), (429, False), (500, False), (503, False)):
            self.assertIs(self.error(self.again({"result": row(7)}, status)).final, final)


class FindTests(Case):
    def find(self, name: str, *rows: object) -> Deferred[EndpointInfo]:
        result = Deferred.fromCoroutine(self.console.endpoint(KEY, name))
        self.asked.answer(200, json.dumps({"results": rows}).encode())
        return result

    def test_by_name_or_id(self) -> None:
        """An endpoint is found by its name or its id; a name that looks like an id is a name first."""
        rows = [row(1, "chat"), row(2, "images"), row(3, "1")]
        for name, id in (("chat", 1), ("2", 2), ("1", 3)):
            self.assertEqual(self.successResultOf(self.find(name, *rows)).id, id)

    def test_near(self) -> None:
        """A name that is nearly right is answered with the right one, a case that is wrong as well."""
        for name in ("imags", "IMAGES"):
            error = self.error(self.find(name, row(1, "chat"), row(2, "images")))
            self.assertIn("did you mean images?", str(error))
            self.assertTrue(error.final)

    def test_far(self) -> None:
        """A name like none is answered with the names there are, up to ten."""
        self.assertIn("there is chat", str(self.error(self.find("zzz", row(1, "chat")))))
        many = str(self.error(self.find("zzz", *(row(n, f"e{n:02}") for n in range(12)))))
        self.assertIn("there are e00, e01", many)
        self.assertIn("e09 …", many)
        self.assertIn("no endpoints", str(self.error(self.find("zzz"))))

    def test_twice(self) -> None:
        """Two endpoints with the same name are an error."""
        error = self.error(self.find("chat", row(1, "chat"), row(2, "chat")))
        self.assertIn("choose an id (1, 2)", str(error))

    def test_without_key(self) -> None:
        """An endpoint without a key in the response cannot be called, which is an error at once."""
        error = self.error(self.find("chat", {**row(1, "chat"), "api_key": None}))
        self.assertIn("does not give this account the key of endpoint chat", str(error))
        self.assertTrue(error.final)

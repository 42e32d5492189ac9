"""Plays a request case before the engine and checks what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from twisted.trial.unittest import FailTest, TestCase

from . import subject
from .cases import CLOSED, EITHER, OPEN, Answer, Case, Either, Forwarded, Local, Refused, Unfinished
from .model import Verdict, differences, verdicts
from .peers import Arrival, Backend, Client, Parties, connect
from .reader import Asked, Response
from .waiting import TookTooLong

PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n"


def shown(data: bytes | bytearray, most: int = 700) -> str:
    """Bytes for a failure's message."""
    return repr(bytes(data)) if len(data) <= most else f"{bytes(data[:most])!r}... {len(data)} bytes"


def slug(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")


def each(cases: Iterable[Any], run: Callable[[Any, Any], Any]) -> Callable[[type], type]:
    """Give a TestCase one method for each case, named after it."""

    def add(cls: type) -> type:
        for item in cases:
            name = f"test_{slug(item.name)}"
            if hasattr(cls, name):
                raise ValueError(f"two cases are called {name}")

            def method(self: TestCase, item: Any = item) -> Any:
                return run(self, item)

            method.__doc__ = f"{item.name} ({item.section})"
            method.__name__ = name
            setattr(cls, name, method)
        return cls

    return add


def asked_for(case: Case) -> list[Asked]:
    """The method and version behind every response that the client will read."""
    asked = []
    for answer in case.answers:
        one = answer.one if isinstance(answer, Either) else answer
        asked.append((one.method, case.version))
    return asked


class Broken(FailTest):
    """A case did not come out as it must; says what was sent and what was seen."""


class Played:
    """What came of a case, and the checks on it."""

    def __init__(self, case: Case, client: Client, backend: Backend) -> None:
        self.case = case
        self.client = client
        self.backend = backend

    def fail(self, why: str) -> None:
        sent = b"".join(step for step in self.case.sent if isinstance(step, bytes))
        seen = b" | ".join(bytes(connection.received) for connection in self.backend.connections)
        raise Broken(
            f"{self.case.name} ({self.case.section}): {why}\n  sent {shown(sent)}"
            f"\n  client got {shown(self.client.received)}\n  backend got {shown(seen)}"
        )

    def check(self, holds: object, why: str) -> None:
        if not holds:
            self.fail(why)

    def refusal(self, response: Response, statuses: tuple[int, ...], method: bytes) -> None:
        """A refusal has one of the statuses, says its cause to programs, and is not preceded by 100 Continue."""
        self.check(response.status in statuses, f"status {response.status}, expected one of {statuses}")
        self.check(response.complete, "the refusal is cut short")
        self.check(not response.informational, "an interim response before a refusal")
        self.check(response.values(b"x-vespa-error"), "a refusal without X-Vespa-Error")
        if response.status == 405:
            self.check(response.values(b"allow"), "405 without Allow (RFC 9110 section 15.5.6)")
        if method != b"HEAD":
            try:
                json.loads(bytes(response.body))["error"]["code"]
            except (ValueError, KeyError, TypeError):
                self.fail(f"the refusal's body is not a JSON error: {shown(response.body)}")

    def forwarded(self, answer: Forwarded, response: Response, arrival: Arrival, verdict: Verdict | None) -> None:
        """The backend saw the same request, and the client its response."""
        seen = arrival.request
        self.check(response.status == 200, f"status {response.status}, expected the backend's 200")
        number = response.values(b"x-seen")
        self.check(number == [b"%d" % arrival.number], f"the response of request {number}, expected {arrival.number}")
        self.check(
            bytes(response.body) == (b"" if answer.method == b"HEAD" else b"seen"), "the backend's body did not come"
        )
        self.check(seen.method == answer.method, f"method {seen.method!r}")
        self.check(answer.target in (None, seen.target), f"target {seen.target!r}, expected {answer.target!r}")
        if answer.body is not None:
            self.check(bytes(seen.body) == answer.body, f"body {shown(seen.body)}")
        fields = [(name.lower(), value) for name, value in seen.fields]
        for line in answer.has:
            self.check(line in fields, f"the backend did not see {line}; it saw {fields}")
        for name in answer.lacks:
            self.check(not seen.values(name), f"the backend saw {name!r}: {seen.values(name)}")
        if answer.continued is not None:
            got = [interim.status for interim in response.informational]
            self.check(got == [100] * answer.continued, f"interim responses {got}")
        if verdict is not None and verdict.kind == "forward":
            wrong = differences(verdict, seen)
            self.check(not wrong, "; ".join(wrong))

    def answered(self, answer: Answer, response: Response, arrivals: list[Arrival], verdict: Verdict | None) -> None:
        """One response is what its response says; takes the arrival that belongs to it off the list."""
        if isinstance(answer, Either):
            passed = bool(response.values(b"x-seen"))
            answer = answer.one if isinstance(answer.one, Forwarded) == passed else answer.other
        if isinstance(answer, Forwarded):
            self.check(arrivals, f"status {response.status}, and the backend got no whole request")
            self.forwarded(answer, response, arrivals.pop(0), verdict)
        elif isinstance(answer, Local):
            self.check(response.status in answer.statuses, f"status {response.status}, expected {answer.statuses}")
            self.check(answer.body in (None, bytes(response.body)), f"body {shown(response.body)}")
        else:
            statuses = answer.statuses if isinstance(answer, Refused) else tuple(range(400, 600))
            self.refusal(response, statuses, answer.method)

    def responses(self, arrivals: list[Arrival]) -> None:
        """Every response is there, in order, and nothing else reached the backend."""
        answers = [answer for answer in self.case.answers if not isinstance(answer, Unfinished)]
        got = self.client.responses[: len(self.case.answers)]
        self.check(self.client.feed.error is None, f"the client cannot read the responses: {self.client.feed.error!r}")
        self.check(len(got) >= len(answers), f"{len(got)} responses, expected {len(answers)}")
        judged = self._verdicts()
        for index, response in enumerate(got):
            self.answered(self.case.answers[index], response, arrivals, judged[index] if index < len(judged) else None)
        self.check(not arrivals, f"the backend got more requests than were accepted: {[a.request for a in arrivals]}")

    def _verdicts(self) -> list[Verdict]:
        sent = b"".join(step for step in self.case.sent if isinstance(step, bytes))
        return verdicts(sent)

    def nothing_begun(self, whole: int) -> None:
        """The backend got not even the beginning of a refused request."""
        if not any(isinstance(a, Unfinished) or (isinstance(a, Refused) and a.begun) for a in self.case.answers):
            stray = [a.request for a in self.backend.arrivals[whole:]]
            errors = [c.feed.error for c in self.backend.connections if c.feed.error is not None and c.received]
            self.check(not stray and not errors, f"the backend got a beginning: {stray} {errors}")


async def run_case_alone(test: TestCase, case: Case, pieces: tuple[Any, ...] | None = None) -> None:
    """Run a case with a backend and a connection of its own."""
    backend = await Backend.start(test)
    port = await subject.start(test, backend.port, **case.limits)
    await run_case(test, case, backend, port, case.sent if pieces is None else pieces)


async def run_case(
    test: TestCase,
    case: Case,
    backend: Backend,
    port: int,
    pieces: tuple[Any, ...],
    client: Client | None = None,
    going_on: bool = False,
) -> Client | None:
    """
    Run a case on this connection, sending it in these pieces, and check all that came of it.

    With `going_on` a connection that must stay open is handed back, and the next case on it is the proof.
    """
    backend.forget()
    if client is None:
        client = await connect(test, port, asked_for(case))
    else:
        client.go_on(asked_for(case))
    backend.parties = Parties(client, backend)
    played = Played(case, client, backend)
    try:
        await client.run_steps(pieces, backend.parties)
        expected = len(case.answers)
        await client.answered(expected)
    except TookTooLong as error:
        played.fail(str(error))
    whole = list(backend.complete)
    played.responses(list(whole))
    going_on = going_on and case.after == OPEN and client.lost is None
    if not going_on:
        await aftermath(played, expected)
    played.nothing_begun(len(whole))
    for failure in backend.failures:
        played.fail(f"the backend's script failed: {failure.getErrorMessage()}")
    if going_on:
        return client
    if client.lost is None:
        client.transport.abortConnection()
        await client.gone()
    return None


async def aftermath(played: Played, expected: int) -> None:
    """The connection is left open or closed as the case says, and says so; what was begun at the backend is cut."""
    client, backend, after = played.client, played.backend, played.case.after
    last = client.responses[-1] if client.responses else None
    begun = [arrival for arrival in backend.arrivals if not arrival.request.complete]
    try:
        if after == CLOSED:
            await client.gone()
            if last is not None and not last.status == 101:
                told = b"close" in last.tokens(b"connection")
                played.check(told, "closed without having said Connection: close (RFC 9112 section 9.6)")
        else:
            if after == OPEN:
                played.check(client.lost is None, "the connection was closed")
                played.check(last is None or b"close" not in last.tokens(b"connection"), "Connection: close was said")
            if client.lost is None:
                client.transport.write(PROBE)
                await client.answered(expected + 1)
            if after == OPEN or len(client.responses) > expected:
                probe = client.responses[expected : expected + 1]
                seen = backend.arrivals[-1].request.target if backend.arrivals else None
                good = bool(probe) and probe[0].status == 200 and seen == b"/probe"
                played.check(
                    good, f"the next request on the connection was not answered: {probe}, backend saw {seen!r}"
                )
                backend.arrivals.pop()
        for arrival in begun:
            connection = arrival.connection
            await connection.changes.until(lambda c=connection: c.lost is not None, "a begun request to be cut")
            played.check(not arrival.request.complete, "a request that never ended was completed for the backend")
    except TookTooLong as error:
        played.fail(str(error))
    played.check(client.feed.error is None or after == EITHER, f"the client cannot read: {client.feed.error!r}")
    played.check(len(client.responses) <= expected + (after != CLOSED), "more responses than requests")

"""Plays a response case and checks what the client saw of it."""

from __future__ import annotations

import json
import re
from collections import deque

from twisted.trial.unittest import TestCase

from . import subject
from .cases import CLOSED, OPEN
from .driver import PROBE, Broken, shown
from .model import HOP_BY_HOP, MARKS
from .peers import Backend, Client, Parties, Script, Step, connect
from .reader import Feed, Field, Malformed, Response, read_responses
from .response_cases import BadGateway, Cut, Outcome, Passed, ResponseCase
from .waiting import TookTooLong

# What a proxy may add to a response that lacks it (RFC 9110 sections 6.6.1 and 7.6.3), or says about framing in its own
# words.
ITS_OWN = frozenset((b"date", b"via", b"content-length", b"trailer"))

DATE = re.compile(rb"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT")


def passing(fields: list[Field]) -> list[Field]:
    """The fields of a response that must pass through untouched and in order, names in lower case."""
    named = b",".join(value for name, value in fields if name.lower() == b"connection").split(b",")
    gone = HOP_BY_HOP | ITS_OWN | {token.strip(b" \t").lower() for token in named}
    lower = [(name.lower(), value) for name, value in fields]
    return [(name, value) for name, value in lower if name not in gone and not is_like(name, gone)]


def is_like(name: bytes, names: frozenset[bytes]) -> bool:
    """Whether a server that takes every mark for "-" would take this name for one of those."""
    like = MARKS.sub(b"-", name)
    return like != name and like in names


def read_strictly(case: ResponseCase) -> Response | None:
    """The response as it was scripted, if it can be read strictly."""
    responses: list[Response] = []
    feed = Feed(lambda source: read_responses(source, responses, deque([(case.method, 1)])))
    feed.feed(case.sent)
    return responses[0] if responses else None


class Seen:
    """What the client saw, and the checks on it."""

    def __init__(self, case: ResponseCase, client: Client, backend: Backend) -> None:
        self.case = case
        self.client = client
        self.backend = backend

    def fail(self, why: str) -> None:
        client = self.client
        end = "still open" if client.lost is None else "aborted" if client.aborted else "ended"
        raise Broken(
            f"{self.case.name} ({self.case.section}): {why}\n  backend sent {shown(self.case.sent)}"
            f"\n  client got {shown(client.received)} and its connection is {end}"
        )

    def problem(self, outcome: Outcome) -> str:
        """Why this is not the outcome; empty if it is."""
        client = self.client
        if not client.responses:
            return f"no response; the reader says {client.feed.error!r}"
        response = client.responses[0]
        got = tuple(interim.status for interim in response.informational)
        if isinstance(outcome, BadGateway):
            return self._not_ours(response) or (f"interim {got}" if outcome.interim not in (None, got) else "")
        if isinstance(outcome, Cut):
            return self._not_cut(response, outcome)
        if response.status != outcome.status or not response.complete:
            return f"status {response.status}, complete: {response.complete}; expected a whole {outcome.status}"
        if client.aborted and response.framing == "close":
            return "what ended with the connection was aborted, which looks like a cut"
        if bytes(response.body) != outcome.body:
            return f"body {shown(response.body)}, expected {shown(outcome.body)}"
        if got != outcome.interim:
            return f"interim statuses {got}, expected {outcome.interim}"
        fields = [(name.lower(), value) for name, value in response.fields]
        if absent := [line for line in outcome.has if line not in fields]:
            return f"fields that did not arrive: {absent}; got {fields}"
        if present := [name for name in outcome.lacks if response.values(name)]:
            return f"fields that must not arrive: {present}"
        return self._other_fields(response)

    def _other_fields(self, response: Response) -> str:
        sent = read_strictly(self.case)
        dates = response.values(b"date")
        if len(dates) != 1 or not DATE.fullmatch(dates[0]):
            return f"not one Date: {dates}"
        if sent is not None and sent.values(b"date") not in ([], dates):
            return f"the Date changed to {dates}"
        if sent is not None and passing(sent.fields) != passing(response.fields):
            return f"fields changed: sent {passing(sent.fields)}, got {passing(response.fields)}"
        leaked = {name.lower() for name, _ in response.fields} & (
            HOP_BY_HOP - {b"connection", b"transfer-encoding", b"trailer"}
        )
        if leaked:
            return f"hop-by-hop fields reached the client: {leaked}"
        if strange := set(response.tokens(b"connection")) - {b"close", b"keep-alive"}:
            return f"Connection options reached the client: {strange}"
        return ""

    def _not_ours(self, response: Response) -> str:
        if response.status != 502 or not response.complete:
            return f"status {response.status}, complete: {response.complete}; expected a whole 502"
        if not response.values(b"x-vespa-error"):
            return "a 502 without X-Vespa-Error"
        if self.case.method == b"HEAD":
            return ""
        try:
            error = json.loads(bytes(response.body))["error"]
            return (
                ""
                if error["code"] and error["origin"] == "backend"
                else f"the error does not blame the backend: {error}"
            )
        except (ValueError, KeyError, TypeError):
            return f"the body is not a JSON error: {shown(response.body)}"

    def _not_cut(self, response: Response, outcome: Cut) -> str:
        client = self.client
        if response.status != outcome.status:
            return f"status {response.status}, expected {outcome.status}"
        if bytes(response.body) != outcome.body:
            return f"body {shown(response.body)}, expected these first bytes: {shown(outcome.body)}"
        if client.lost is None:
            return "the connection is still open"
        if response.framing == "close" and not client.aborted:
            return "what could end only with the connection was ended cleanly: the cut does not show"
        if response.framing != "close" and response.complete:
            return "the response looks whole"
        return ""

    def check(self) -> Outcome:
        """The first of the outcomes that holds; fails with all their problems."""
        if isinstance(self.client.feed.error, Malformed):
            self.fail(f"the client cannot read it: {self.client.feed.error}")
        problems = []
        for outcome in self.case.outcomes:
            if not (why := self.problem(outcome)):
                return outcome
            problems.append(why)
        self.fail("; or ".join(problems))
        raise AssertionError


async def run_response_case_alone(test: TestCase, case: ResponseCase) -> None:
    """Run a case with a backend and a connection of its own."""
    backend = await Backend.start(test)
    port = await subject.start(test, backend.port)
    await run_response_case(test, case, backend, port, case.steps)


async def run_response_case(
    test: TestCase,
    case: ResponseCase,
    backend: Backend,
    port: int,
    steps: tuple[Step, ...],
    client: Client | None = None,
    going_on: bool = False,
) -> Client | None:
    """
    Run a case on this connection, the backend doing these steps, and check all that came of it.

    With `going_on` a connection that stays open is handed back, and the next case on it is the proof.
    """
    backend.forget()
    backend.scripts.append(Script(steps, case.at))
    if client is None:
        client = await connect(test, port, [(case.method, case.version)])
    else:
        client.go_on([(case.method, case.version)])
    backend.parties = Parties(client, backend)
    seen = Seen(case, client, backend)
    try:
        await client.run_steps(case.request, backend.parties)
        await client.answered(1)
        if any(isinstance(outcome, Cut) for outcome in case.outcomes) and not case_is_whole(client):
            await client.gone()
        outcome = seen.check()
        await backend.scripts_over()
        going_on = going_on and outcome_stays_open(outcome) and client.lost is None
        if not going_on:
            await afterwards(seen, outcome)
    except TookTooLong as error:
        seen.fail(str(error))
    for failure in backend.failures:
        seen.fail(f"the backend's script failed: {failure.getErrorMessage()}")
    if going_on:
        return client
    if client.lost is None:
        client.transport.abortConnection()
        await client.gone()
    return None


def outcome_stays_open(outcome: Outcome) -> bool:
    return isinstance(outcome, Passed) and outcome.after == OPEN


def case_is_whole(client: Client) -> bool:
    return bool(client.responses) and client.responses[0].complete


async def afterwards(seen: Seen, outcome: Outcome) -> None:
    """The client's connection goes on or ends, and the next request never takes a spoilt connection to the backend."""
    client, backend = seen.client, seen.backend
    if isinstance(outcome, Cut):
        return
    if outcome.after == CLOSED:
        await client.gone()
    elif client.lost is None:
        finished = bool(backend.complete) or not backend.arrivals
        if outcome.after == OPEN or finished:
            client.transport.write(PROBE)
            await client.answered(2)
    told = b"close" in client.responses[0].tokens(b"connection")
    if outcome.after == OPEN and (client.lost is not None or told):
        seen.fail("the connection did not stay open")
    if client.lost is not None:
        if len(client.responses) > 1:
            seen.fail("more than one response")
        return
    if len(client.responses) < 2:
        return
    probe = client.responses[1]
    if probe.status != 200 or bytes(probe.body) != b"seen" or backend.arrivals[-1].request.target != b"/probe":
        seen.fail(f"the next request got {probe}")
    reused = getattr(outcome, "reused", None)
    same = backend.arrivals[-1].connection is backend.arrivals[0].connection
    if reused is not None and same != reused:
        seen.fail(f"the backend's connection was {'' if same else 'not '}used again")

"""The client in memory and everybody around it; what each request has been through, and what holds at any time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from tests.client.rig import AUTOSCALER, KEY, ClientRig
from tests.contract.reader import Request
from tests.stateful.answering import Plan, Server
from tests.stateful.callers import Ask, Caller
from tests.stateful.transports import MemoryNetwork
from vespa.client.console import ConsoleError, EndpointInfo
from vespa.client.endpoint_key import EndpointKey
from vespa.client.trust import TrustError
from vespa.runtime.single_flight import SingleFlight


@frozen(kw_only=True)
class Config:
    """How the client is set up, and what kind of a run it is."""

    later: bool = False
    pings: bool = False
    official: bool = False
    looked_up: bool = False
    turns: int = 0
    connections: int = 0
    attempts: int = 3
    seconds: float = 20.0
    first_byte: float = 0.0
    replay_bytes: int = 1 << 20
    ending: str = "finish"


@define(eq=False)
class Given:
    """One assignment that was told, and what became of it."""

    said: dict[str, Any]
    address: tuple[str, int]
    seen: list[tuple[Request, Server]] = field(factory=list)
    plan: Plan | None = None
    spoke: bool = False
    """Its worker said something, be it no response."""


@define(eq=False)
class Track:
    """One request's way: the index to ask under, and the assignments it got."""

    caller: Caller
    at: int
    ask: Ask
    idx: int = 0
    given: list[Given] = field(factory=list)
    questions: list[Server] = field(factory=list)


class Lookup:
    """A console and a source of trust that answer when they are told to."""

    def __init__(self) -> None:
        self.asked: list[Deferred[EndpointInfo]] = []
        self.wanted: list[Deferred[object]] = []
        self._single_flight: SingleFlight[object] = SingleFlight(self._wait)

    async def endpoint(self, account_key: str, name: str) -> EndpointInfo:
        waiting: Deferred[EndpointInfo] = Deferred()
        self.asked.append(waiting)
        return await waiting

    async def roots(self) -> object:
        return await self._single_flight.join()

    async def _wait(self) -> object:
        waiting: Deferred[object] = Deferred()
        self.wanted.append(waiting)
        return await waiting

    def answer(self, how: int) -> None:
        asked, self.asked = self.asked, []
        wanted, self.wanted = self.wanted, []
        for each in asked:
            if each.called:
                continue
            if how % 8 > 1:
                each.callback(EndpointInfo(id=1, name="demo", api_key=KEY))
            else:
                each.errback(ConsoleError("no", final=bool(how % 8)))
        for root in wanted:
            if not root.called:
                root.errback(TrustError("no root"))


class ClientHarness:
    """The client, and everybody around it. `look` checks what cannot wait."""

    def __init__(self, config: Config, parties: Sequence[tuple[Sequence[Ask], bool]]) -> None:
        self.config = config
        self.lookup = Lookup()
        self.rig = rig = ClientRig(
            pings=config.pings,
            max_connections=config.turns,
            first_byte=config.first_byte,
            official=config.official,
            attempts=config.attempts,
            seconds=config.seconds,
            replay_bytes=config.replay_bytes,
            per_worker=config.connections,
            trust=self.lookup,
        )
        self.net = MemoryNetwork(rig.reactor, later=config.later)
        if config.looked_up:
            rig.autoscaler.key = EndpointKey("demo", rig.reactor, account_key="account", console=self.lookup)  # type: ignore[arg-type]
        self.parties = [(_until_upgrade(asks), ahead) for asks, ahead in parties]
        self.callers: list[Caller] = []
        self.servers: list[Server] = []
        self.tracks: dict[int, Track] = {}
        self.givens: dict[int, Given] = {}
        self.draining = False

    def of_workers(self) -> list[Server]:
        return [server for server in self.servers if server.address != AUTOSCALER]

    def questions(self) -> list[Server]:
        return [
            server
            for server in self.servers
            if server.address == AUTOSCALER and server.transport.takes and server.current and server.plan is None
        ]

    def look(self) -> None:
        """Read what was sent, until nobody says anything more."""
        net = self.net
        net.look()
        for address, transport in net.transports[len(self.servers) :]:
            self.servers.append(Server(address, transport))
        for caller in self.callers:
            caller.look()
        for server in self.servers:
            for request in server.look():
                (self._asked if server.address == AUTOSCALER else self._came)(server, request)

    def _asked(self, server: Server, request: Request) -> None:
        """The autoscaler is asked."""
        assert request.complete and request.target == b"/route/" and request.method == b"POST", request
        assert request.values(b"authorization") == [b"Bearer " + KEY.encode()], request
        question = json.loads(bytes(request.body))
        track = self.tracks[int(question.pop("cost"))]
        assert question.pop("endpoint") == "demo" and question.pop("api_key") == KEY
        last = track.given[-1] if track.given else None
        if last is not None and last.plan is not None and last.plan.answered:
            assert last.plan.status in (429, 503), f"{last.plan.status} was left for another"
            last.plan, last.spoke = None, False
            track.idx = 0
        elif last is not None:
            assert not last.spoke and not (last.plan is not None and last.plan.sent), "it was being worked on"
        assert question == {"request_idx": track.idx, "replay_timeout": 60.0}, (question, track.idx)
        assert len(track.given) < self.config.attempts, "one attempt more than allowed"
        if server.transport.takes:
            self._wanted(track)
        others = [each for each in track.questions if each is not server and each.asker is track]
        assert not any(each.transport.takes and each.current for each in others), "asked twice at once"
        track.questions = [server]
        server.asker = track

    def _wanted(self, track: Track) -> None:
        """This request still goes somewhere: somebody wants it, and has not been answered."""
        caller = track.caller
        assert caller.transport.open, "nobody wants this any more"
        assert caller.done >= track.at, "it is not its turn"
        assert not caller.begun(track.at), "its response has begun"

    def _came(self, server: Server, request: Request) -> None:
        """A request came to a worker."""
        number = re.search(rb'"reqnum":(\d+)', request.body[:1000]) or re.search(
            rb"serverless_reqnum=(\d+)", request.target
        )
        assert number is not None, request
        given = self.givens[int(number[1])]
        track = self.tracks[int(request.values(b"x-own")[0])]
        assert given is track.given[-1], "the assignment of another"
        assert given.address == server.address, "sent to another than it was assigned to"
        assert all(not each.transport.takes for _, each in given.seen), "sent twice at once"
        if server.transport.takes:
            self._wanted(track)
        given.seen.append((request, server))


def _until_upgrade(asks: Sequence[Ask]) -> Sequence[Ask]:
    """Nothing is asked behind a request that may become a tunnel."""
    for at, ask in enumerate(asks):
        if ask.upgrades:
            return asks[: at + 1]
    return asks

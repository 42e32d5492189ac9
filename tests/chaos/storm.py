"""A storm over the client in memory: what each of those around it does next is told by numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from tests.chaos.answering import CLOSE, Plan, Server, plan, worker_plan
from tests.chaos.callers import Ask, Caller
from tests.chaos.strands import Net, Strand
from tests.client.rig import AUTOSCALER, KEY, OTHER, WORKER, ClientRig, assignment
from tests.contract.reader import Request
from vespa.client.console import ConsoleError, EndpointInfo
from vespa.client.endpoint_key import EndpointKey
from vespa.client.trust import TrustError
from vespa.client.workers import Workers
from vespa.core.refusal import Refusal
from vespa.net.sharing import Shared

WORKERS: Final = (WORKER, OTHER, ("203.0.113.9", 31000))
AMOUNTS: Final = (1, 30, 300, 1000, 3000, 30_000, 30_000, 70_000, 1 << 30, 1 << 30)
DUE: Final = ("drain", "call", "accept", "answer", "push", "send", "assign")
TIMES: Final = (0.0, 0.0, 0.1, 0.5, 1.0, 1.0, 2.5, 6.0, 11.0, 31.0)
_T = TypeVar("_T")


@frozen(kw_only=True)
class Weather:
    """How the client is set up, and what kind of a storm it is."""

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
    ending: str = "calm"


@define(eq=False)
class Given:
    """One assignment that was told, and what became of it."""

    said: dict[str, Any]
    address: tuple[str, int]
    seen: list[tuple[Request, Server]] = field(factory=list)
    plan: Plan | None = None
    spoke: bool = False
    """Its worker said something, be it no answer."""


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
        self._sharing: Shared[object] = Shared(self._wait)

    async def endpoint(self, account_key: str, name: str) -> EndpointInfo:
        waiting: Deferred[EndpointInfo] = Deferred()
        self.asked.append(waiting)
        return await waiting

    async def roots(self) -> object:
        return await self._sharing.join()

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


class Storm:
    """The client, and everybody around it. `act` lets one of them do something; `look` checks what cannot wait."""

    def __init__(self, weather: Weather, parties: Sequence[tuple[Sequence[Ask], bool]]) -> None:
        self.weather = weather
        self.rig = rig = ClientRig(
            pings=weather.pings,
            max_connections=weather.turns,
            first_byte=weather.first_byte,
            official=weather.official,
            attempts=weather.attempts,
            seconds=weather.seconds,
            replay_bytes=weather.replay_bytes,
        )
        self.lookup = Lookup()
        self.net = Net(rig.reactor, later=weather.later)
        rig.known = rig.route.workers = Workers(rig.reactor, self.lookup, connections=weather.connections)
        if weather.looked_up:
            rig.router.key = EndpointKey("demo", rig.reactor, account_key="account", console=self.lookup)  # type: ignore[arg-type]
        self.parties = [(_until_upgrade(asks), ahead) for asks, ahead in parties]
        self.callers: list[Caller] = []
        self.servers: list[Server] = []
        self.tracks: dict[int, Track] = {}
        self.givens: dict[int, Given] = {}
        self.draining = False
        self._acted = False

    # -- who is there

    def act(self, name: str, a: int, b: int) -> None:
        """Let one do this; where nobody can, whatever is due."""
        self._acted = False
        for each in (name, *DUE[a % 3 :]):
            getattr(self, f"do_{each}")(a, b)
            if self._acted:
                break
        self.look()

    def _pick(self, some: Sequence[_T], number: int) -> Sequence[_T]:
        """One of them, if there is any."""
        self._acted = self._acted or bool(some)
        return [some[number % len(some)]] if some else []

    def of_workers(self) -> list[Server]:
        return [server for server in self.servers if server.address != AUTOSCALER]

    def questions(self) -> list[Server]:
        return [
            server
            for server in self.servers
            if server.address == AUTOSCALER and server.strand.takes and server.current and server.plan is None
        ]

    def look(self) -> None:
        """Read what was sent, until nobody says anything more."""
        net = self.net
        net.look()
        for address, strand in net.strands[len(self.servers) :]:
            self.servers.append(Server(address, strand))
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
        assert len(track.given) < self.weather.attempts, "one attempt more than allowed"
        if server.strand.takes:
            self._wanted(track)
        others = [each for each in track.questions if each is not server and each.asker is track]
        assert not any(each.strand.takes and each.current for each in others), "asked twice at once"
        track.questions = [server]
        server.asker = track

    def _wanted(self, track: Track) -> None:
        """This request still goes somewhere: somebody wants it, and has not been answered."""
        caller = track.caller
        assert caller.strand.open, "nobody wants this any more"
        assert caller.done >= track.at, "it is not its turn"
        assert not caller.begun(track.at), "its answer has begun"

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
        assert all(not each.strand.takes for _, each in given.seen), "sent twice at once"
        if server.strand.takes:
            self._wanted(track)
        given.seen.append((request, server))

    # -- what they do

    def do_call(self, a: int, b: int) -> None:
        if self.parties:
            self._acted = True
            asks, ahead = self.parties.pop(0)
            strand = Strand(self.rig.reactor, later=self.weather.later)
            strand.attach(self.rig.server.buildProtocol(strand.getPeer()))
            caller = Caller(strand, asks, ahead)
            self.callers.append(caller)
            for at, ask in enumerate(asks):
                self.tracks[ask.cost] = Track(caller, at, ask)
            if b % 2:
                self._send(caller, (1 << 30, 40_000, 1000)[b // 2 % 3])

    def do_send(self, a: int, b: int) -> None:
        for caller in self._pick([each for each in self.callers if each.sends], a):
            self._send(caller, AMOUNTS[b % len(AMOUNTS)])

    def _send(self, caller: Caller, most: int) -> None:
        if caller.sends:
            caller.send(most)

    def do_leave(self, a: int, b: int) -> None:
        for caller in self._pick([each for each in self.callers if each.strand.open], a):
            if b % 2:
                caller.leave(ConnectionLost())
            elif caller.strand.takes:
                caller.leave(None)

    def do_squeeze(self, a: int, b: int) -> None:
        strands = [each.strand for each in (*self.callers, *self.servers)]
        for strand in self._pick([strand for strand in strands if strand.open], a):
            strand.squeeze((0, 100, 10_000)[b % 3])

    def do_drain(self, a: int, b: int) -> None:
        strands = [each.strand for each in (*self.callers, *self.servers)]
        for strand in self._pick([strand for strand in strands if strand.full], a):
            strand.drain()

    def do_accept(self, a: int, b: int) -> None:
        for attempt in self._pick(self.net.waiting(), a):
            self.net.accept(attempt)

    def do_refuse(self, a: int, b: int) -> None:
        for attempt in self._pick(self.net.waiting(), a):
            self.net.fail(attempt)

    def do_assign(self, a: int, b: int) -> None:
        for server in self._pick(self.questions(), a):
            self._tell(server, self._assignment(server, WORKERS[b % 3], b // 3, "https" if b % 16 == 9 else "http"))

    def _assignment(self, server: Server, worker: tuple[str, int], how: int, scheme: str = "http") -> Plan:
        said = assignment(worker, 1 + how % 900, 1 + len(self.givens))
        said["url"] = f"{scheme}://{worker[0]}:{worker[1]}"
        given = self.givens[said["reqnum"]] = Given(said, worker)
        made = plan(200, json.dumps({**said, "api_key": KEY}).encode(), how // 900 * 16)
        made.told = (given, said["request_idx"])
        return made

    def do_tell(self, a: int, b: int) -> None:
        for server in self._pick(self.questions(), a):
            self._tell(server, self._other(server, b))

    def _other(self, server: Server, b: int) -> Plan:
        kind, how = b % 16, b // 16
        if kind < 6:
            said = {"status": "none\nyet", "request_idx": 1 + how % 50}
            if kind == 5:
                del said["request_idx"]
            made = plan(200, json.dumps(said).encode(), how % 64)
            made.told = (None, said.get("request_idx"))
            return made
        if kind < 9:
            return plan((429, 500, 503)[kind - 6], b"slow", how, b"Retry-After: %d" % (how % 9))
        if kind == 9:
            return plan(200, (b"<html>", b'{"url": "http://x", "request_idx": 5}', b" " * 70_000)[how % 3], how)
        if kind == 10:
            return Plan(b"HTTP/1.0 nonsense\r\n\r\n", 10, 0, valid=False)
        if kind < 14 or how % 3:
            made = plan(200, b"{}" * 90, 0)
            made.data, made.ending, made.valid = made.data[: 10 + how % 100], CLOSE, False
            return made
        if kind == 14:
            return self._assignment(server, WORKERS[0], 7, ("https", "ftp")[how % 2])
        return plan((401, 403, 400, 302, 404)[how % 5], b'{"error": "no"}', 0)

    def _tell(self, server: Server, made: Plan) -> None:
        server.answer(made)
        if len(made.data) % 3:
            self._push(server, 1 << 30)

    def do_answer(self, a: int, b: int) -> None:
        idle = [each for each in self.of_workers() if each.current and each.plan is None and each.strand.takes]
        for server in self._pick(idle, a):
            request = server.current
            assert request is not None
            given = self._given(server)
            made = given.plan = worker_plan(given.said["reqnum"], request, a // 7, b)
            server.answer(made)
            if a % 2:
                self._push(server, 1 << 30)

    def _given(self, server: Server) -> Given:
        return next(
            given
            for given in self.givens.values()
            if given.seen and given.seen[-1][1] is server and given.seen[-1][0] is server.requests[-1]
        )

    def do_push(self, a: int, b: int) -> None:
        for server in self._pick([each for each in self.servers if each.plan is not None and each.strand.takes], a):
            self._push(server, AMOUNTS[b % len(AMOUNTS)])

    def _push(self, server: Server, most: int) -> None:
        made = server.plan
        assert made is not None
        if made.told is not None and made.sent + most >= len(made.data):
            (given, idx), made.told = made.told, None
            track = server.asker
            if made.until_close and made.ending != CLOSE:
                given = idx = None  # it breaks off
            track.idx = track.idx if idx is None else idx
            if given is not None:
                track.given.append(given)
        server.push(most)

    def do_die(self, a: int, b: int) -> None:
        for server in self._pick([each for each in self.servers if each.strand.open], a):
            if b % 2:
                server.leave("cut")
            elif server.strand.takes:
                server.leave(None)

    def do_interim(self, a: int, b: int) -> None:
        idle = [each for each in self.of_workers() if each.current and each.plan is None and each.strand.takes]
        for server in self._pick(idle, a):
            self._given(server).spoke = True
            server.strand.send((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n")[b % 2])

    def do_chatter(self, a: int, b: int) -> None:
        idle = [each for each in self.servers if each.plan is None and not each.current and each.strand.takes]
        for server in self._pick([each for each in idle if not each.tunnel], a):
            server.strand.send(b"HTTP/1.1 408 Late\r\n\r\n")

    def do_say(self, a: int, b: int) -> None:
        for caller in self._pick([each for each in self.callers if each.tunnel and each.strand.takes], a):
            caller.say(b"up%d;" % b)
        for server in self._pick([each for each in self.servers if each.tunnel and each.strand.takes], b):
            server.said += b"down%d;" % a
            server.strand.send(b"down%d;" % a)

    def do_lookup(self, a: int, b: int) -> None:
        self._acted = bool(self.lookup.asked or self.lookup.wanted)
        self.lookup.answer(b)

    def do_time(self, a: int, b: int) -> None:
        self._acted = True
        self.wait(TIMES[a % len(TIMES)])

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.rig.reactor.advance(0)
        while seconds > 0:
            step = min(seconds, 0.5)
            self.rig.reactor.advance(step)
            self.look()
            for caller in self.callers:
                caller.tarry(step)
            seconds -= step

    def do_shut(self, a: int, b: int) -> None:
        if not self.draining and b % 8:
            return
        if not self.draining:
            self.draining = self.rig.door.draining = True
            self.rig.server.drain()
        elif b % 2:
            self.rig.route.dismiss(lambda: Refusal(503, "draining", "the proxy is shutting down"))


def _until_upgrade(asks: Sequence[Ask]) -> Sequence[Ask]:
    """Nothing is asked behind a request that may become a tunnel."""
    for at, ask in enumerate(asks):
        if ask.upgrades:
            return asks[: at + 1]
    return asks

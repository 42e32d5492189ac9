"""The client in memory; numbers choose what each of those around it does next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, TypeVar

from twisted.internet.error import ConnectionLost

from tests.client.rig import KEY, OTHER, WORKER, assignment
from tests.stateful.answering import CLOSE, Plan, Server, plan, worker_plan
from tests.stateful.callers import Caller
from tests.stateful.client_harness import ClientHarness, Given, Track
from tests.stateful.transports import MemoryTransport

WORKERS: Final = (WORKER, OTHER, ("203.0.113.9", 31000))
AMOUNTS: Final = (1, 30, 300, 1000, 3000, 30_000, 30_000, 70_000, 1 << 30, 1 << 30)
DUE: Final = ("drain", "call", "accept", "answer", "push", "send", "assign")
TIMES: Final = (0.0, 0.0, 0.1, 0.5, 1.0, 1.0, 2.5, 6.0, 11.0, 31.0)
_T = TypeVar("_T")


class ClientStateMachine(ClientHarness):
    """`step` lets one of those around the client do something."""

    _acted = False

    def step(self, name: str, a: int, b: int) -> None:
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

    def do_call(self, a: int, b: int) -> None:
        if self.parties:
            self._acted = True
            asks, ahead = self.parties.pop(0)
            transport = MemoryTransport(self.rig.reactor, later=self.config.later)
            transport.attach(self.rig.server.buildProtocol(transport.getPeer()))
            caller = Caller(transport, asks, ahead)
            self.callers.append(caller)
            for at, ask in enumerate(asks):
                self.tracks[ask.cost] = Track(caller, at, ask)
            if b % 2:
                self.send(caller, (1 << 30, 40_000, 1000)[b // 2 % 3])

    def do_send(self, a: int, b: int) -> None:
        for caller in self._pick([each for each in self.callers if each.sends], a):
            self.send(caller, AMOUNTS[b % len(AMOUNTS)])

    def send(self, caller: Caller, most: int) -> None:
        if caller.sends:
            caller.send(most)

    def do_leave(self, a: int, b: int) -> None:
        for caller in self._pick([each for each in self.callers if each.transport.open], a):
            if b % 2:
                caller.leave(ConnectionLost())
            elif caller.transport.takes:
                caller.leave(None)

    def do_squeeze(self, a: int, b: int) -> None:
        transports = [each.transport for each in self.callers] + [each.transport for each in self.servers]
        for transport in self._pick([transport for transport in transports if transport.open], a):
            transport.squeeze((0, 100, 10_000)[b % 3])

    def do_drain(self, a: int, b: int) -> None:
        transports = [each.transport for each in self.callers] + [each.transport for each in self.servers]
        for transport in self._pick([transport for transport in transports if transport.full], a):
            transport.drain()

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
            self.push(server, 1 << 30)

    def do_answer(self, a: int, b: int) -> None:
        idle = [each for each in self.of_workers() if each.current and each.plan is None and each.transport.takes]
        for server in self._pick(idle, a):
            request = server.current
            assert request is not None
            given = self.given_of(server)
            made = given.plan = worker_plan(given.said["reqnum"], request, a // 7, b)
            server.answer(made)
            if a % 2:
                self.push(server, 1 << 30)

    def given_of(self, server: Server) -> Given:
        return next(
            given
            for given in self.givens.values()
            if given.seen and given.seen[-1][1] is server and given.seen[-1][0] is server.requests[-1]
        )

    def do_push(self, a: int, b: int) -> None:
        for server in self._pick([each for each in self.servers if each.plan is not None and each.transport.takes], a):
            self.push(server, AMOUNTS[b % len(AMOUNTS)])

    def push(self, server: Server, most: int) -> None:
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
        for server in self._pick([each for each in self.servers if each.transport.open], a):
            if b % 2:
                server.leave("cut")
            elif server.transport.takes:
                server.leave(None)

    def do_interim(self, a: int, b: int) -> None:
        idle = [each for each in self.of_workers() if each.current and each.plan is None and each.transport.takes]
        for server in self._pick(idle, a):
            self.given_of(server).spoke = True
            server.transport.send((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n")[b % 2])

    def do_chatter(self, a: int, b: int) -> None:
        idle = [each for each in self.servers if each.plan is None and not each.current and each.transport.takes]
        for server in self._pick([each for each in idle if not each.tunnel], a):
            server.transport.send(b"HTTP/1.1 408 Late\r\n\r\n")

    def do_say(self, a: int, b: int) -> None:
        for caller in self._pick([each for each in self.callers if each.tunnel and each.transport.takes], a):
            caller.say(b"up%d;" % b)
        for server in self._pick([each for each in self.servers if each.tunnel and each.transport.takes], b):
            server.said += b"down%d;" % a
            server.transport.send(b"down%d;" % a)

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
            self.draining = True
            self.rig.app.drain()
            self.rig.server.drain()
        elif b % 2:
            self.rig.app.dismiss()

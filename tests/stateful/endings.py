"""How a storm over the client ends."""

from __future__ import annotations

from tests.stateful.answering import plan
from tests.stateful.stateful_machine import WORKERS, Storm

_ALL = 1 << 30
_ROUNDS = 150


def calm(storm: Storm) -> None:
    """Everybody does what is right, until every request has its answer."""
    for _ in range(_ROUNDS):
        if not storm.parties and all(caller.over or caller.left for caller in storm.callers):
            return
        _behave(storm)
        storm.wait(0.5)
    hanging = [(caller.asks, caller.done) for caller in storm.callers if not caller.over]
    raise AssertionError(f"no answer ever comes: {hanging}")


def _behave(storm: Storm) -> None:
    """Everybody does what is due."""
    storm.do_call(0, 0)
    storm.lookup.answer(7)
    _let_flow(storm)
    for attempt in storm.net.waiting():
        if attempt.waits:
            storm.net.accept(attempt)
    storm.look()
    for _ in storm.questions():
        storm.do_assign(0, 7 * len(storm.givens) % len(WORKERS))
    storm.look()
    for server in storm.of_workers():
        request = server.current
        if request is not None and request.complete and server.plan is None and server.strand.takes:
            given = storm._given(server)
            mark = b"X-Worker: %d" % given.said["reqnum"]
            given.plan = plan(200, b"calm", 0, mark, bodiless=request.method == b"HEAD")
            server.answer(given.plan)
    for caller in storm.callers:
        storm._send(caller, _ALL)
        if caller.tunnel and caller.strand.takes:
            caller.leave(None)
    storm.look()
    for server in storm.servers:
        if server.plan is not None and server.strand.takes:
            storm._push(server, _ALL)
        elif server.strand.finished and server.strand.takes:
            server.leave(None)
    storm.look()


def _let_flow(storm: Storm) -> None:
    for each in (*storm.callers, *storm.servers):
        each.strand.room = None
        each.strand.drain()


def abandon(storm: Storm) -> None:
    """Nobody waits any longer."""
    leave(storm)


def silence(storm: Storm) -> None:
    """Nobody says anything any more; where there are limits to that, callers hear of it."""
    weather = storm.weather
    _let_flow(storm)
    for server in storm.servers:
        if server.strand.open and (server.plan is not None or server.tunnel):
            server.leave("cut")
    for caller in storm.callers:
        storm._send(caller, _ALL)
    storm.look()
    if not weather.seconds or not weather.first_byte:
        return
    for _ in range(8):
        storm.wait(weather.seconds + weather.first_byte + 15)
        _let_flow(storm)
        for caller in storm.callers:
            storm._send(caller, _ALL)
        storm.look()
    for caller in storm.callers:
        assert caller.over or caller.left, "no end ever comes"


def leave(storm: Storm) -> None:
    """All callers go, the last of them."""
    _let_flow(storm)
    for caller in storm.callers:
        if caller.strand.open:
            caller.left = True
            if caller.strand.takes:
                caller.leave(None)
            else:
                caller.strand.lose(ConnectionError())
    storm.look()
    storm.wait(0.1)
    if storm.net.waiting():
        storm.wait(10.5)  # one begun for a request that has left is kept, if it comes about, for another

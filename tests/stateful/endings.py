"""How a run over the client ends."""

from __future__ import annotations

from tests.stateful.answering import plan
from tests.stateful.stateful_machine import WORKERS, ClientStateMachine

_ALL = 1 << 30
_ROUNDS = 150


def finish(machine: ClientStateMachine) -> None:
    """Everybody does what is right, until every request has its response."""
    for _ in range(_ROUNDS):
        if not machine.parties and all(caller.over or caller.left for caller in machine.callers):
            return
        _behave(machine)
        machine.wait(0.5)
    hanging = [(caller.asks, caller.done) for caller in machine.callers if not caller.over]
    raise AssertionError(f"no response ever comes: {hanging}")


def _behave(machine: ClientStateMachine) -> None:
    """Everybody does what is due."""
    machine.do_call(0, 0)
    machine.lookup.answer(7)
    _let_flow(machine)
    for attempt in machine.net.waiting():
        if attempt.waits:
            machine.net.accept(attempt)
    machine.look()
    for _ in machine.questions():
        machine.do_assign(0, 7 * len(machine.givens) % len(WORKERS))
    machine.look()
    for server in machine.of_workers():
        request = server.current
        if request is not None and request.complete and server.plan is None and server.transport.takes:
            given = machine.given_of(server)
            mark = b"X-Worker: %d" % given.said["reqnum"]
            given.plan = plan(200, b"calm", 0, mark, bodiless=request.method == b"HEAD")
            server.answer(given.plan)
    for caller in machine.callers:
        machine.send(caller, _ALL)
        if caller.tunnel and caller.transport.takes:
            caller.leave(None)
    machine.look()
    for server in machine.servers:
        if server.plan is not None and server.transport.takes:
            machine.push(server, _ALL)
        elif server.transport.finished and server.transport.takes:
            server.leave(None)
    machine.look()


def _let_flow(machine: ClientStateMachine) -> None:
    callers, servers = machine.callers, machine.servers
    for transport in [each.transport for each in callers] + [each.transport for each in servers]:
        transport.room = None
        transport.drain()


def abandon(machine: ClientStateMachine) -> None:
    """Nobody waits any longer."""
    leave(machine)


def silence(machine: ClientStateMachine) -> None:
    """Nobody says anything any more; where there are limits to that, callers hear of it."""
    config = machine.config
    _let_flow(machine)
    for server in machine.servers:
        if server.transport.open and (server.plan is not None or server.tunnel):
            server.leave("cut")
    for caller in machine.callers:
        machine.send(caller, _ALL)
    machine.look()
    if not config.seconds or not config.first_byte:
        return
    for _ in range(8):
        machine.wait(config.seconds + config.first_byte + 15)
        _let_flow(machine)
        for caller in machine.callers:
            machine.send(caller, _ALL)
        machine.look()
    for caller in machine.callers:
        assert caller.over or caller.left, "no end ever comes"


def leave(machine: ClientStateMachine) -> None:
    """All callers go, the last of them."""
    _let_flow(machine)
    for caller in machine.callers:
        if caller.transport.open:
            caller.left = True
            if caller.transport.takes:
                caller.leave(None)
            else:
                caller.transport.lose(ConnectionError())
    machine.look()
    machine.wait(0.1)
    if machine.net.waiting():
        machine.wait(10.5)  # one begun for a request that has left is kept, if it comes about, for another

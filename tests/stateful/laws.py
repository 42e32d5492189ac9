"""What holds in every run over the client, and at its end."""

from __future__ import annotations

import json
from typing import Any, Final

from twisted.internet.defer import Deferred

from tests.client.requests import auth_data
from tests.client.rig import KEY, query_of
from tests.contract.reader import Request, Response
from tests.stateful.answering import Plan, Server
from tests.stateful.callers import PRIVATE, Caller, after_comments, error_event, pinged
from tests.stateful.client_harness import Given, Track
from tests.stateful.stateful_machine import ClientStateMachine
from vespa.protocol.connection_state import ClientState

OURS: Final = frozenset(
    "too_many_requests no_worker autoscaler_unavailable bad_endpoint_key no_endpoint_key route_refused no_worker_root "
    "bad_assignment draining queue_full body_timeout head_timeout official_dialect invalid_json".split()
)
OF_WORKERS: Final = frozenset(
    "worker_unreachable worker_timeout no_reply bad_reply truncated_reply first_byte_timeout".split()
)


def check_callers(machine: ClientStateMachine) -> None:
    """Each request has one response, which is the one that it was given, or a visible break."""
    for caller in machine.callers:
        assert KEY.encode() not in caller.transport.came, "a caller got to see the endpoint's key"
        assert len(caller.answers) <= len(caller.asks), "more responses than requests"
        for at, response in enumerate(caller.answers):
            _check_response(machine, caller, machine.tracks[caller.asks[at].cost], response)
        _check_end(machine, caller)


def _check_end(machine: ClientStateMachine, caller: Caller) -> None:
    """No connection ends without a reason."""
    at = len(caller.answers)
    if not caller.ended or caller.left or caller.slow or machine.draining:
        return
    if at < len(caller.asks) and caller.sent(at):
        last = caller.answers[-1] if caller.answers else None
        assert last is not None, "closed without a response"
        closes = b"close" in last.tokens(b"connection") or not caller.whole(last)
        assert closes or caller.asks[at - 1].closes, "closed without a response to the next"


def _check_response(machine: ClientStateMachine, caller: Caller, track: Track, response: Response) -> None:
    ask, whole = track.ask, caller.whole(response)
    cut = not whole and not (caller.ended and not caller.left and not caller.slow)
    last = track.given[-1] if track.given else None
    marks = response.values(b"x-worker")
    for code in response.values(b"x-vespa-error"):
        _check_refusal(machine, track, code.decode())
        if whole and ask.method != b"HEAD":
            assert json.loads(bytes(response.body))["error"]["code"] == code.decode()
        assert whole or cut
        return
    if response.status == 101:
        assert ask.upgrades and last is not None
        ((_, server),) = last.seen[-1:]
        assert server.said.startswith(bytes(response.body)), "not what the worker said"
        assert caller.said.startswith(server.raw), "not what the caller said"
        return
    if marks:
        assert last is not None and marks == [b"%d" % last.said["reqnum"]], "the response of another"
        plan = last.plan
        assert plan is not None and response.status == plan.status
        assert plan.content.startswith(bytes(response.body)), "not what the worker said"
        if whole:
            assert plan.whole, "a response that broke off looks whole"
            assert plan.until_close or bytes(response.body) == plan.content, "a part of the response is missing"
        else:
            assert cut or not plan.whole, "a whole response broke off"
        if plan.status in (429, 503):
            _check_stay(machine, track)
        return
    assert pinged(response) and machine.config.pings and ask.streams, response
    assert not caller.over or response.complete or caller.ended
    rest = after_comments(bytes(response.body))
    if rest or whole:
        _check_after_comments(machine, track, last, rest, whole)


def _check_after_comments(
    machine: ClientStateMachine, track: Track, last: Given | None, rest: bytes, whole: bool
) -> None:
    plan: Plan | None = last.plan if last is not None else None
    if plan is not None and plan.answered and 200 <= plan.status < 300:
        # Its bytes, whatever their type.
        assert plan.content.startswith(rest), "not what the worker said"
        assert not whole or plan.whole, "a response that broke off looks whole"
        assert not whole or plan.until_close or rest == plan.content, "a part of the response is missing"
    elif whole:
        error: Any = error_event(rest)
        if "code" in error:
            _check_refusal(machine, track, error["code"])
        else:
            assert plan is not None and error["status"] == plan.status, error
            assert plan.whole, "a response that broke off looks whole"


def _check_refusal(machine: ClientStateMachine, track: Track, code: str) -> None:
    assert code in OURS or code in OF_WORKERS, code
    if code in OF_WORKERS:
        assert track.given, "nobody was asked"
    if code in ("worker_unreachable", "worker_timeout"):
        _check_stay(machine, track)


def _check_stay(machine: ClientStateMachine, track: Track) -> None:
    """It could go nowhere else."""
    config = machine.config
    if not config.seconds and config.replay_bytes and len(track.ask.body) <= config.replay_bytes:
        assert len(track.given) == config.attempts, "another worker could have been asked"


def check_workers(machine: ClientStateMachine) -> None:
    """What workers saw is what callers sent, in the wrapping of the assignment that was theirs."""
    for server in machine.of_workers():
        came = bytes(server.transport.came)
        assert KEY.encode() not in came and PRIVATE not in came, "a secret left"
    for track in machine.tracks.values():
        for given in track.given:
            for request, server in given.seen:
                _check_request(machine, track, given, request, server)


def _check_request(machine: ClientStateMachine, track: Track, given: Given, request: Request, server: Server) -> None:
    ask, said = track.ask, given.said
    query = [ask.query] if ask.query else []
    body = ask.body
    if ask.wrapped or machine.config.official:
        body = b'{"auth_data":' + auth_data(said) + b',"payload":' + body + b"}"
    else:
        query.append(query_of(said))
    target = ask.path + (b"?" + b"&".join(query) if query else b"")
    assert (request.method, request.target) == (ask.method, target), (request.target, target)
    assert request.values(b"x-own") == [b"%d" % ask.cost] and request.values(b"host") == [b"%b:%d" % _host(given)]
    assert body.startswith(bytes(request.body)), "other bytes than the caller's"
    if request.complete:
        assert bytes(request.body) == body, "bytes are missing"
    else:
        transport = server.transport
        assert transport.aborted or transport.left or transport.takes, (
            "an upload broke off that looks like another's end"
        )
        assert not transport.takes, "an upload was forgotten"
    if request.framing == "length":
        assert request.length == len(body)


def _host(given: Given) -> tuple[bytes, int]:
    return given.address[0].encode(), given.address[1]


def check_over(machine: ClientStateMachine) -> None:
    """Nothing is left over once everybody has gone."""
    rig = machine.rig
    assert (rig.gate.working, rig.gate.waiting) == (0, 0), "the gate is not empty"
    assert not rig.autoscaler.waiting, "a search waits"
    assert not rig.waits or rig.waits[-1] == ("", 0.0), rig.waits[-1]
    assert not rig.autoscaler.timer.size, "somebody still looks at the clock"
    assert not rig.server.connections, "callers are left"
    assert not machine.net.waiting(), "a connection is being made for nobody"
    asked: list[Deferred[Any]] = [*machine.lookup.asked, *machine.lookup.wanted]
    assert all(each.called for each in asked), "a look-up for nobody"
    pools = [rig.asked, *rig.known.pools()]
    for server in machine.servers:
        transport = server.transport
        if transport.open:
            connection = transport.protocol._wrappedProtocol
            assert connection.pool in pools and connection.state is ClientState.IDLE and connection.receiver is None, (
                f"a connection to {server.address} belongs to nobody"
            )
            assert not transport.paused and not connection.held_back, "a connection is kept that is not read"
    kept = sum(server.transport.open for server in machine.servers)
    assert kept == sum(pool.idle for pool in pools), "a connection belongs to nobody"
    assert all(pool.size == pool.idle and not pool.waiting for pool in pools), "a pool counts wrong"
    rig.known.close()
    rig.asked.close()
    for server in machine.servers:
        server.transport.drain()
    machine.wait(0)
    assert not any(server.transport.open for server in machine.servers), "a connection was not closed"
    assert not (calls := rig.reactor.getDelayedCalls()), [str(call) for call in calls]
    for transport in (
        *(caller.transport for caller in machine.callers),
        *(server.transport for server in machine.servers),
    ):
        assert not transport.late, f"written behind the end: {transport.late[:100]!r}"

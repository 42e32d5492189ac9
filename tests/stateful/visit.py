"""One client's connection: what it sends, in which pieces, and when it hangs up."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, ClassVar

from attrs import define, field, frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater

from tests.contract.reader import Response
from tests.stateful.worker_requests import BUSY, Ask
from tests.system.peer import Peer, connect

SILENCE_MAX_SECONDS = 8.0
"""A visit fails that is not done when no client has received anything for so long.

Many visits share one process with the worker. On a busy machine one of them may wait longer than that for its turn.
"""


class Wrong(AssertionError):
    """A client did not get what is its due."""


@frozen
class HangUp:
    """When to leave: after so many bytes sent, so many received, or so many seconds since all was sent."""

    sent: int | None = None
    received: int | None = None
    seconds: float | None = None
    politely: bool = False

    @classmethod
    def at_random(cls, dice: Random, size: int) -> HangUp:
        """Any of these, for a client that has `size` bytes to send."""
        politely = dice.random() < 0.5
        phase = dice.randrange(5)
        if phase == 0:
            return cls(sent=dice.choice([0, 1, 30]), politely=politely)
        if phase == 1:
            return cls(sent=dice.randrange(size), politely=politely)
        if phase == 2:
            return cls(received=dice.choice([1, 20, 200, 5_000, 100_000]), politely=politely)
        return cls(seconds=dice.choice([0.0, 0.001, 0.01, 0.03]), politely=politely)


@define
class Visit:
    """Requests over one connection, pipelined or one after the other."""

    received_at: ClassVar[float] = 0.0
    """When a client received something, whichever it was."""

    asks: Sequence[Ask]
    pipelined: bool
    hang_up: HangUp | None
    dice: Random
    peer: Peer | None = None
    left: bool = False
    pause: float = 0.0
    away: bool = False
    """Whether the backend listens only now and then."""
    answered: list[tuple[Ask, int]] = field(factory=list)
    broken: list[Ask] = field(factory=list)
    _deadline: Any = field(default=None, init=False)

    async def make(self, endpoint: IStreamClientEndpoint) -> None:
        """Go there, and come back when the connection is over. Raises Wrong."""
        try:
            peer = self.peer = await connect(endpoint)
        except (ConnectError, ConnectionLost):
            raise Wrong("could not connect") from None
        peer.on_data = self._received
        if any(ask.pause for ask in self.asks):
            self._slow_down(peer)
        if self.hang_up is not None and self.hang_up.sent == 0:
            self._leave()
        Visit.received_at = max(Visit.received_at, reactor.seconds())
        self._deadline = reactor.callLater(SILENCE_MAX_SECONDS, self._give_up)
        try:
            await self._talk(peer)
        finally:
            if not peer.lost:
                peer.cut()
            await peer.gone
            if self._deadline.active():
                self._deadline.cancel()
        if peer.timed_out:
            raise Wrong(self._story(peer, f"not done, and {SILENCE_MAX_SECONDS:g} s of silence"))
        if not self.left:
            self._judge(peer)

    def _give_up(self) -> None:
        left = Visit.received_at + SILENCE_MAX_SECONDS - reactor.seconds()
        if left > 0:
            self._deadline = reactor.callLater(left, self._give_up)
            return
        assert self.peer is not None
        self.left = False
        self.hang_up = None
        self.peer.timed_out = True
        self.peer.cut()

    async def _talk(self, peer: Peer) -> None:
        for number, ask in enumerate(self.asks, 1):
            peer.asked.append((ask.method, ask.minor))
            self.pause = ask.pause
            await self._send(peer, ask.data)
            if not self.pipelined:
                await self._answer(peer, number)
                if ask.tunnel and not peer.lost and peer.responses[-1].status == 101:
                    await self._send(peer, ask.tunnel)
                    await self._until(peer, lambda ask=ask: len(peer.responses[-1].body) >= len(ask.tunnel))
                if peer.whole and b"close" in peer.whole[-1].tokens(b"connection") and self.dice.random() < 0.5:
                    await peer.gone  # which is up to the worker now
                if peer.lost or not peer.whole or b"close" in peer.whole[-1].tokens(b"connection"):
                    return
        if self.pipelined:
            await self._answer(peer, len(self.asks))
        if self.dice.random() < 0.5:
            peer.leave()
            await peer.gone

    def _slow_down(self, peer: Peer) -> None:
        """Let little of what comes fit in this side's buffers."""
        transport = getattr(peer.transport, "transport", peer.transport)  # TLS lies on top of another
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

    async def _send(self, peer: Peer, data: bytes) -> None:
        """Send in pieces, some of them late."""
        dice = self.dice
        while data and not peer.lost:
            size = len(data) if dice.random() < 0.6 else dice.choice([1, 40, 700, 20_000, 100_000])
            piece, data = data[:size], data[size:]
            plan = self.hang_up
            if plan is not None and plan.sent is not None and peer.sent + len(piece) >= plan.sent:
                piece = piece[: plan.sent - peer.sent]
                peer.more(piece)
                self._leave()
                return
            peer.sent += len(piece)
            peer.more(piece)
            if data and dice.random() < 0.5:
                await deferLater(reactor, dice.random() * 0.003)
        if self.hang_up is not None and self.hang_up.seconds is not None and not peer.lost:
            self._later(peer, self.hang_up.seconds, self._leave)

    def _received(self) -> None:
        Visit.received_at = reactor.seconds()
        plan, peer = self.hang_up, self.peer
        assert peer is not None
        if plan is not None and plan.received is not None and peer.size >= plan.received:
            self._leave()
        if self.pause and not peer.lost:
            peer.transport.pauseProducing()
            self._later(peer, self.pause, peer.transport.resumeProducing)
            self.pause = 0.0
        waiting, peer.waiting = peer.waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def _leave(self) -> None:
        peer, plan = self.peer, self.hang_up
        if peer is None or peer.lost or plan is None:
            return
        self.left = True
        if plan.politely:
            peer.leave()
            # A reader that is asked to leave waits for its unsent bytes; the worker may never take them.
            self._later(peer, 0.2, peer.cut)
        else:
            peer.cut()

    def _later(self, peer: Peer, seconds: float, do: Callable[[], None]) -> None:
        """Do something unless the connection is over by then."""
        call = reactor.callLater(seconds, do)
        peer.gone.addBoth(lambda _: call.cancel() if call.active() else None)

    async def _answer(self, peer: Peer, number: int) -> None:
        await self._until(peer, lambda: len(peer.whole) >= number or self._switched(peer))

    def _switched(self, peer: Peer) -> bool:
        return bool(peer.responses) and peer.responses[-1].status == 101

    async def _until(self, peer: Peer, holds: object) -> None:
        while not peer.lost and not holds():  # type: ignore[operator]
            waiting: Deferred[None] = Deferred()
            peer.waiting.append(waiting)
            await waiting

    def _judge(self, peer: Peer) -> None:
        """See whether every request got the response that is its due."""
        closed = False
        for number, ask in enumerate(self.asks):
            response: Response | None = peer.responses[number] if number < len(peer.responses) else None
            if response is None:
                if not closed:  # else it was never sent
                    if not ask.cut:
                        raise Wrong(self._story(peer, f"no response to {ask.kind}"))
                    self.broken.append(ask)
                return
            if response.status == 101 and ask.tunnel:
                if bytes(response.body) != ask.tunnel:
                    raise Wrong(self._story(peer, "the tunnel's echo is wrong"))
            elif not response.complete:
                if not ask.cut:
                    raise Wrong(self._story(peer, f"half a response to {ask.kind}"))
                self.broken.append(ask)
                return
            own = response.values(b"x-vespa-error")
            busy = ask.request_idx and response.status in BUSY and own
            # A kept connection may end under a request of which a part was passed on, and that cannot be sent again.
            stale = ask.streamed and own == [b"no_reply"]
            if self.away:
                stale = stale or own in ([b"no_reply"], [b"backend_unreachable"])
            right = response.status in ask.statuses and (response.status >= 300 or ask.right(response))
            if not (busy or stale or right):
                raise Wrong(self._story(peer, f"a wrong response to {ask.kind}: {response.status} {own}"))
            self.answered.append((ask, response.status if not busy else -response.status))
            closed = b"close" in response.tokens(b"connection") or ask.minor == 0

    def _story(self, peer: Peer, what: str) -> str:
        kinds = [ask.kind for ask in self.asks]
        return f"{what}; {kinds} pipelined={self.pipelined} error={peer.feed.error!r} came={bytes(peer.raw[:600])!r}"

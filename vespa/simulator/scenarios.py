"""What the demonstration shows, act by act."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from vespa.simulator.autoscaler import Report
from vespa.simulator.children import ClientChild
from vespa.simulator.commands import CHAT, QUESTION, SIGNED, by_client, by_hand, with_own_client
from vespa.simulator.demo_client import Answered, Customer, StreamedWords, Unexpected
from vespa.simulator.launch import free_port, is_free
from vespa.simulator.lines import describe
from vespa.simulator.processes import HOST, Stage
from vespa.simulator.routing import Asked
from vespa.simulator.terminal import Terminal

CLIENT_PORT = 8010
SHORT = 13
"""Words, and so tokens, in the answer's first two sentences."""
LONG = 100
SETTLE_SECONDS = 15.0


class Demo:
    """One run of the demonstration."""

    def __init__(
        self,
        reactor: Any,
        options: argparse.Namespace,
        terminal: Terminal,
        environment: Mapping[str, str],
        folder: str,
    ) -> None:
        self._reactor = reactor
        self._options = options
        self._terminal = terminal
        self._folder = folder
        self._last_line = ""
        self._held: list[str] | None = None
        self._asked_first: float | None = None
        self.stage = Stage(
            reactor,
            folder,
            environment,
            own_group=True,
            on_report=self._show_report,
            on_route=self._show_route,
            on_client_line=self._show_client_line,
        )
        self.succeeded = False

    async def run(self) -> None:
        """Start everything, send requests, and print. Fails with a failure of theirs, or CancelledError at a Ctrl-C."""
        client = await self._start()
        autoscaler = self.stage.autoscaler
        customer = Customer(self._reactor, self.stage.autoscaler_url, autoscaler.endpoint, autoscaler.endpoint_key)
        await self._ask_early(customer, client)
        await self._ask_streamed(customer, client)
        await self._ask_by_hand(customer)
        await self._ask_forged(customer)
        await self._show_books()
        self._show_commands(client, [await customer.assignment(LONG) for _ in range(SIGNED)])
        self.succeeded = True
        if not self._options.once:
            self._terminal.heading("Running until Ctrl-C. Reports, as they come:")
            await Deferred()

    async def _start(self) -> ClientChild:
        stage, terminal, options = self.stage, self._terminal, self._options
        stage.backend.tokens_per_second = options.rate
        await stage.start_autoscaler(options.autoscaler_port)
        await stage.start_backend(options.backend_port)
        port = options.client_port
        if port is None:
            port = CLIENT_PORT if is_free(CLIENT_PORT) else 0
        client = await stage.start_client(port=port, cost_from_tokens=True)
        terminal.heading("Vespa at both ends, a simulated autoscaler and a small backend, on this machine alone")
        terminal.line(f"client      {client.url}  where you ask: vespa-proxy client, process {client.pid}")
        terminal.line(f"autoscaler  {stage.autoscaler_url}  signs requests, takes reports")
        terminal.line(f"backend     {stage.backend_url}  speaks OpenAI's API, word by word")
        return client

    async def _ask_early(self, customer: Customer, client: ClientChild) -> None:
        terminal, stage = self._terminal, self.stage
        terminal.heading(f"From zero: POST {CHAT} at the client, which waits until there is a worker")
        payload = {**QUESTION, "max_tokens": SHORT}
        asking = Deferred.fromCoroutine(customer.ask(client.url, CHAT, payload))
        try:
            await stage.until(lambda: stage.autoscaler.routes or asking.called, SETTLE_SECONDS, "asked for a worker")
            port = self._options.port or free_port()
            # A worker on Vast.ai listens at every address; this one is for this machine alone.
            listen = f"tcp:{port}:interface={HOST}"
            # A benchmark of one level: nobody wants to watch it climb.
            worker = stage.start_worker(port, VESPA_LISTEN=listen, BENCHMARK_RUNS="1", BENCHMARK_CONCURRENCY="4")
            terminal.line(f"worker      {worker.url}  starts now: twistd -n vespa, process {worker.pid}")
            await stage.until_ready()
        except BaseException:
            asking.cancel()
            await DeferredList([asking], consumeErrors=True)
            raise
        answered = await asking
        _expect(answered, 200)
        terminal.flow(json.loads(answered.body)["choices"][0]["message"]["content"])
        terminal.end_flow()
        terminal.good(f"200 after {answered.seconds:.2f} s: whoever asked saw a slow answer, and no error")

    async def _ask_streamed(self, customer: Customer, client: ClientChild) -> None:
        self._terminal.heading("Through the client once more, streamed")
        words = StreamedWords(self._terminal.flow)
        self._held = []  # so that no report falls into the running text
        payload = {**QUESTION, "max_tokens": LONG, "stream": True}
        answered = await customer.ask(client.url, CHAT, payload, words.take)
        self._terminal.end_flow()
        _expect(answered, 200)
        if not words.done:
            raise Unexpected("the stream ended before [DONE]")
        self._terminal.good(
            f"200, first byte after {answered.first_byte_after * 1000:.0f} ms, "
            f"{words.count} words in {answered.seconds:.2f} s"
        )
        held, self._held = self._held, None
        for line in held:
            self._terminal.dim(line)

    async def _ask_by_hand(self, customer: Customer) -> None:
        self._terminal.heading("Without the client: a signed request, straight to the worker")
        answered = await customer.call(await customer.assignment(SHORT), CHAT, {**QUESTION, "max_tokens": SHORT})
        _expect(answered, 200)
        self._terminal.flow(json.loads(answered.body)["choices"][0]["message"]["content"])
        self._terminal.end_flow()
        self._terminal.good(f"200 after {answered.seconds:.2f} s")

    async def _ask_forged(self, customer: Customer) -> None:
        self._terminal.heading("The same, signed by somebody else")
        forged = {**await customer.assignment(LONG), "signature": "A" * 342 + "=="}
        answered = await customer.call(forged, CHAT, QUESTION)
        _expect(answered, 401)
        self._terminal.good(f"401 {answered.error_code}: the backend never saw it, and no report counts it")

    async def _show_books(self) -> None:
        books = self.stage.autoscaler.books
        (book,) = books.workers.values()
        self._terminal.heading("What the autoscaler knows now")
        await self.stage.until(
            lambda: len(book.deletes) == 3 and book.in_flight == 0 and book.balance(books.costs).adds_up,
            SETTLE_SECONDS,
            "reported in full",
        )
        balance = book.balance(books.costs)
        self._terminal.line(
            f"units of work since the start: {balance.received:g} received = {balance.served:g} served "
            f"+ {balance.failed:g} failed + {balance.in_flight:g} in flight"
        )
        told = ", ".join(f"request {idx} {' and '.join(statuses)}" for idx, statuses in sorted(book.deletes.items()))
        self._terminal.line(f"told finished, once each: {told}")
        if book.duplicates or self.stage.autoscaler.malformed:
            raise Unexpected(f"reports went wrong: {book.duplicates} {self.stage.autoscaler.malformed}")
        self._terminal.good("the books add up")

    def _show_commands(self, client: ClientChild, assignments: list[dict[str, Any]]) -> None:
        self._terminal.heading("Without --once, these would work now" if self._options.once else "Try it")
        commands = (
            *by_client(client.url),
            *with_own_client(self.stage),
            *by_hand(self.stage, assignments, self._folder),
        )
        for meaning, command in commands:
            self._terminal.dim(f"# {meaning}")
            self._terminal.line(command)

    def silence(self) -> None:
        """Show no more of what others say."""
        self._held = []

    def _show_report(self, report: Report) -> None:
        line = describe(report)
        if line != self._last_line:
            self._last_line = line
            self._show(line)

    def _show_route(self, asked: Asked) -> None:
        if self._asked_first is None:
            self._asked_first = asked.at
        if asked.status:
            self._show(f"asked after {asked.at - self._asked_first:.1f} s: wait; {asked.status}")

    def _show_client_line(self, line: str) -> None:
        # Its log begins with the time, the level and where in the program it was.
        message = line.partition("] ")[2]
        if "for a worker" in message:
            self._show(f"the client: {message}")

    def _show(self, line: str) -> None:
        if self._held is None:
            self._terminal.dim(line)
        else:
            self._held.append(line)


def _expect(answered: Answered, status: int) -> None:
    if answered.status != status:
        shown = answered.body[:500].decode("utf-8", "replace").strip()
        raise Unexpected(f"the answer was {answered.status} where {status} was expected: {shown}")

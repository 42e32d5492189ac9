"""What the demonstration shows, step by step."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from vespa.simulator.autoscaler import Report, SimulatedAutoscaler
from vespa.simulator.backend import SimulatedBackend
from vespa.simulator.child import ClientChild
from vespa.simulator.commands import CHAT, QUESTION, SIGNED, by_client, by_hand, with_own_client
from vespa.simulator.demo_client import ClientResponse, DemoClient, StreamedWords, Unexpected
from vespa.simulator.launch import free_port, is_free
from vespa.simulator.lines import describe
from vespa.simulator.processes import HOST, MASTER_TOKEN, Deployment
from vespa.simulator.routing import Asked
from vespa.simulator.terminal import Terminal

CLIENT_PORT = 8010
SHORT = 13
"""Words, and so tokens, in the response's first two sentences."""
LONG = 100
SETTLE_SECONDS = 15.0


class Demo:
    """One run of the demonstration."""

    def __init__(
        self, reactor: Any, options: argparse.Namespace, terminal: Terminal, environment: Mapping[str, str], folder: str
    ) -> None:
        self._reactor = reactor
        self._options = options
        self._terminal = terminal
        self._folder = folder
        self._last_line = ""
        self._held: list[str] | None = None
        self._asked_first: float | None = None
        autoscaler = SimulatedAutoscaler(
            reactor, master_token=MASTER_TOKEN, on_report=self._show_report, on_route=self._show_route
        )
        backend = SimulatedBackend(reactor, tokens_per_second=options.rate)
        self.deployment = Deployment(
            reactor, folder, environment, autoscaler, backend, own_group=True, on_client_line=self._show_client_line
        )
        self.succeeded = False

    async def run(self) -> None:
        """Start everything, send requests, and print. Fails with a failure of theirs, or CancelledError at a Ctrl-C."""
        client = await self._start()
        autoscaler = self.deployment.autoscaler
        demo_client = DemoClient(
            self._reactor, self.deployment.autoscaler_url, autoscaler.endpoint, autoscaler.endpoint_key
        )
        await self._ask_early(demo_client, client)
        await self._ask_streamed(demo_client, client)
        await self._ask_by_hand(demo_client)
        await self._ask_forged(demo_client)
        await self._show_totals()
        self._show_commands(client, [await demo_client.assignment(LONG) for _ in range(SIGNED)])
        self.succeeded = True
        if not self._options.once:
            self._terminal.heading("Running until Ctrl-C. Reports, as they come:")
            await Deferred()

    async def _start(self) -> ClientChild:
        deployment, terminal, options = self.deployment, self._terminal, self._options
        await deployment.start_autoscaler(options.autoscaler_port)
        await deployment.start_backend(options.backend_port)
        port = options.client_port
        if port is None:
            port = CLIENT_PORT if is_free(CLIENT_PORT) else 0
        key = {"VAST_API_KEY": deployment.autoscaler.endpoint_key}
        client = await deployment.run_client([f"--port={port}", "--cost-from-tokens"], key)
        terminal.heading("Vespa at both ends, a simulated autoscaler and a small backend, on this machine alone")
        terminal.line(f"client      {client.url}  where you ask: vespa-proxy client, process {client.pid}")
        terminal.line(f"autoscaler  {deployment.autoscaler_url}  signs requests, takes reports")
        terminal.line(f"backend     {deployment.backend_url}  speaks OpenAI's API, word by word")
        return client

    async def _ask_early(self, demo_client: DemoClient, client: ClientChild) -> None:
        terminal, deployment = self._terminal, self.deployment
        terminal.heading(f"From zero: POST {CHAT} at the client, which waits until there is a worker")
        payload = {**QUESTION, "max_tokens": SHORT}
        asking = Deferred.fromCoroutine(demo_client.ask(client.url, CHAT, payload))
        try:
            await deployment.until(
                lambda: self._asked_first is not None or asking.called, SETTLE_SECONDS, "asked for a worker"
            )
            port = self._options.port or free_port()
            # A worker on Vast.ai listens at every address; this one is for this machine alone.
            listen = f"tcp:{port}:interface={HOST}"
            # A benchmark of one level: nobody wants to watch it climb.
            settings = {"VESPA_LISTEN": listen, "BENCHMARK_RUNS": "1", "BENCHMARK_CONCURRENCY": "4"}
            worker = deployment.run_worker(port, settings)
            terminal.line(f"worker      {worker.url}  starts now: twistd -n vespa, process {worker.pid}")
            await deployment.until_ready()
        except BaseException:
            asking.cancel()
            await DeferredList([asking], consumeErrors=True)
            raise
        response = await asking
        _expect(response, 200)
        terminal.flow(json.loads(response.body)["choices"][0]["message"]["content"])
        terminal.end_flow()
        terminal.good(f"200 after {response.seconds:.2f} s: whoever asked saw a slow response, and no error")

    async def _ask_streamed(self, demo_client: DemoClient, client: ClientChild) -> None:
        self._terminal.heading("Through the client once more, streamed")
        words = StreamedWords(self._terminal.flow)
        self._held = []  # so that no report falls into the running text
        payload = {**QUESTION, "max_tokens": LONG, "stream": True}
        response = await demo_client.ask(client.url, CHAT, payload, words.take)
        self._terminal.end_flow()
        _expect(response, 200)
        if not words.done:
            raise Unexpected("the stream ended before [DONE]")
        self._terminal.good(
            f"200, first byte after {response.first_byte_after * 1000:.0f} ms, "
            f"{words.count} words in {response.seconds:.2f} s"
        )
        held, self._held = self._held, None
        for line in held:
            self._terminal.dim(line)

    async def _ask_by_hand(self, demo_client: DemoClient) -> None:
        self._terminal.heading("Without the client: a signed request, straight to the worker")
        response = await demo_client.call(await demo_client.assignment(SHORT), CHAT, {**QUESTION, "max_tokens": SHORT})
        _expect(response, 200)
        self._terminal.flow(json.loads(response.body)["choices"][0]["message"]["content"])
        self._terminal.end_flow()
        self._terminal.good(f"200 after {response.seconds:.2f} s")

    async def _ask_forged(self, demo_client: DemoClient) -> None:
        self._terminal.heading("The same, signed by somebody else")
        forged = {**await demo_client.assignment(LONG), "signature": "A" * 342 + "=="}
        response = await demo_client.call(forged, CHAT, QUESTION)
        _expect(response, 401)
        self._terminal.good(f"401 {response.error_code}: the backend never saw it, and no report counts it")

    async def _show_totals(self) -> None:
        totals = self.deployment.autoscaler.totals
        (worker_totals,) = totals.workers.values()
        self._terminal.heading("What the autoscaler knows now")
        await self.deployment.until(
            lambda: (
                len(worker_totals.deletes) == 3
                and worker_totals.in_flight == 0
                and worker_totals.balance(totals.costs).adds_up
            ),
            SETTLE_SECONDS,
            "reported in full",
        )
        balance = worker_totals.balance(totals.costs)
        self._terminal.line(
            f"units of work since the start: {balance.received:g} received = {balance.served:g} served "
            f"+ {balance.failed:g} failed + {balance.in_flight:g} in flight"
        )
        told = ", ".join(
            f"request {idx} {' and '.join(statuses)}" for idx, statuses in sorted(worker_totals.deletes.items())
        )
        self._terminal.line(f"told finished, once each: {told}")
        if worker_totals.duplicates or self.deployment.autoscaler.malformed:
            raise Unexpected(f"reports went wrong: {worker_totals.duplicates} {self.deployment.autoscaler.malformed}")
        self._terminal.good("the totals add up")

    def _show_commands(self, client: ClientChild, assignments: list[dict[str, Any]]) -> None:
        self._terminal.heading("Without --once, these would work now" if self._options.once else "Try it")
        commands = (
            *by_client(client.url),
            *with_own_client(self.deployment),
            *by_hand(self.deployment, assignments, self._folder),
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


def _expect(response: ClientResponse, status: int) -> None:
    if response.status != status:
        shown = response.body[:500].decode("utf-8", "replace").strip()
        raise Unexpected(f"the response was {response.status} where {status} was expected: {shown}")

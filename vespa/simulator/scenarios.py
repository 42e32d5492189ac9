"""The steps of the demonstration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from vespa.config.demo import DemoSettings
from vespa.simulator.autoscaler import Asked, Report, SimulatedAutoscaler
from vespa.simulator.backend import SimulatedBackend
from vespa.simulator.backend_process import RESTART_SECONDS, BackendKeeper
from vespa.simulator.child import ClientChild
from vespa.simulator.commands import CHAT, QUESTION, SIGNED, by_client, by_hand, with_own_client
from vespa.simulator.demo_client import ClientResponse, DemoClient, StreamedWords, Unexpected
from vespa.simulator.events import describe, units
from vespa.simulator.launch import free_port
from vespa.simulator.printout import Printout
from vespa.simulator.processes import HOST, MASTER_TOKEN, Deployment, NotReady

CLIENT_PORT = 8010
SHORT = 13  # words, and so tokens, in the response's first two sentences
LONG = 100
SETTLE_SECONDS = 15.0


class Demo:
    """One run of the demonstration."""

    def __init__(
        self, reactor: Any, options: DemoSettings, printout: Printout, environment: Mapping[str, str], folder: str
    ) -> None:
        self._reactor = reactor
        self._options = options
        self._printout = printout
        self._asked = False
        self.quiet = False  # whether events are hidden
        self._sent: list[str] = []  # how each request was sent, by its index from 1 on
        autoscaler = SimulatedAutoscaler(
            reactor, master_token=MASTER_TOKEN, on_report=self._show_report, on_route=self._show_route
        )
        backend = SimulatedBackend(reactor)  # stays unused: this demonstration's backend is a process of its own
        self.deployment = Deployment(reactor, folder, environment, autoscaler, backend, own_group=True)
        self.backend = BackendKeeper(
            reactor, lambda port: self.deployment.run_backend(port, options.rate), self._show_backend
        )
        self.succeeded = False

    async def run(self) -> None:
        """Start everything, send requests, and print. Raises their failures, and CancelledError at a Ctrl-C."""
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
        self.succeeded = True
        if self._options.once:
            return
        self.quiet = True  # these assignments do not belong to a step
        assignments = [await demo_client.assignment(LONG) for _ in range(SIGNED)]
        self.quiet = False
        self._show_pages(client)
        self._show_commands(client, assignments)
        self._printout.heading("Running until Ctrl-C. What the worker reports, as it comes:")
        await Deferred()

    async def _start(self) -> ClientChild:
        deployment, printout, options = self.deployment, self._printout, self._options
        await deployment.start_autoscaler(options.autoscaler_port)
        deployment.backend_url = await self.backend.run(options.backend_port)
        assert self.backend.child is not None
        what = f"simulated: OpenAI's API, {options.rate:g} words a second, process {self.backend.child.pid}"
        client = await self._start_client()
        printout.heading("Vespa at work on this machine alone. Ctrl-C ends all of it.")
        printout.table(
            ("Part", "Address", "What it is"),
            (
                ("client", client.url, f"vespa-proxy client, process {client.pid}: your programs call it"),
                ("autoscaler", deployment.autoscaler_url, "simulated: picks workers, signs requests, takes reports"),
                ("worker", "not started yet", "twistd -n vespa: stands before the backend"),
                ("backend", deployment.backend_url, what),
                ("page", client.status_page, "the client's status page, live in a browser"),
            ),
        )
        printout.text("Work is counted in units: here one for each token that a request may produce (max_tokens).")
        return client

    async def _start_client(self) -> ClientChild:
        deployment, port = self.deployment, self._options.client_port
        key = {"VAST_API_KEY": deployment.autoscaler.endpoint_key}
        try:
            return await deployment.run_client(
                [f"--port={CLIENT_PORT if port is None else port}", "--cost-from-tokens"], key
            )
        except NotReady:
            if port is not None:
                raise
        deployment.clients.pop()  # the usual port is taken: use any other
        return await deployment.run_client(["--port=0", "--cost-from-tokens"], key)

    async def _ask_early(self, demo_client: DemoClient, client: ClientChild) -> None:
        printout, deployment = self._printout, self.deployment
        self._begin(f"1. From zero: a request of {SHORT} units comes before there is any worker", "through the client")
        printout.text(f"POST {client.url}{CHAT}")
        payload = {**QUESTION, "max_tokens": SHORT}
        asking = Deferred.fromCoroutine(demo_client.send(client.url + CHAT, payload))
        try:
            await deployment.until(lambda: self._asked or asking.called, SETTLE_SECONDS, "asked for a worker")
            port = self._options.port or free_port()
            settings = {
                # A worker on Vast.ai listens at every address; this one is for this machine only.
                "VESPA_LISTEN": f"tcp:{port}:interface={HOST}",
                # A short benchmark of one level, so that the demonstration is quick.
                "BENCHMARK_RUNS": "1",
                "BENCHMARK_CONCURRENCY": "4",
                "BENCHMARK_MAX_TOKENS": "20",
                # So that the worker soon notices when somebody kills the backend.
                "VESPA_HEALTHCHECK_POLL_INTERVAL": "1",
            }
            worker = deployment.run_worker(port, settings)
            printout.event("worker", f"starts now at {worker.url}: twistd -n vespa, process {worker.pid}")
            await deployment.until(lambda: worker.status_page, SETTLE_SECONDS, "listening")
            printout.event("worker", f"its status page is {worker.status_page}")
            await deployment.until_ready()
        except BaseException:
            asking.cancel()
            await DeferredList([asking], consumeErrors=True)
            raise
        response = await asking
        _expect(response, 200)
        printout.text(response.said)
        printout.good(f"200 after {response.seconds:.2f} s. The caller saw a slow response, and no error.")

    async def _ask_streamed(self, demo_client: DemoClient, client: ClientChild) -> None:
        self._begin(f"2. Through the client once more, streamed: {LONG} units", "through the client, streamed")
        payload = {**QUESTION, "max_tokens": LONG, "stream": True}
        with self._printout.flow() as take:
            words = StreamedWords(take)
            response = await demo_client.send(client.url + CHAT, payload, words.take)
        _expect(response, 200)
        if not words.done:
            raise Unexpected("the stream ended before [DONE]")
        self._printout.good(
            f"200. The first byte came after {response.first_byte_after * 1000:.0f} ms, "
            f"{words.count} words in {response.seconds:.2f} s."
        )

    async def _ask_by_hand(self, demo_client: DemoClient) -> None:
        self._begin(f"3. Without the client: {SHORT} units, signed, straight to the worker", "signed, to the worker")
        response = await demo_client.call(await demo_client.assignment(SHORT), CHAT, {**QUESTION, "max_tokens": SHORT})
        _expect(response, 200)
        self._printout.text(response.said)
        self._printout.good(f"200 after {response.seconds:.2f} s.")

    async def _ask_forged(self, demo_client: DemoClient) -> None:
        self._begin("4. The same with a forged signature", "with a forged signature")
        forged = {**await demo_client.assignment(LONG), "signature": "A" * 342 + "=="}
        response = await demo_client.call(forged, CHAT, QUESTION)
        _expect(response, 401)
        self._printout.good(f"401 {response.error_code}. The backend never saw it, and no report counts it.")

    async def _show_totals(self) -> None:
        printout, autoscaler = self._printout, self.deployment.autoscaler
        totals = autoscaler.totals
        (worker_totals,) = totals.workers.values()
        printout.heading("5. What the autoscaler knows from the worker's reports")
        await self.deployment.until(
            lambda: (
                len(worker_totals.deletes) == 3
                and worker_totals.in_flight == 0
                and worker_totals.balance(totals.costs).adds_up
            ),
            SETTLE_SECONDS,
            "reported in full",
        )
        reported = worker_totals.deletes
        rows = [
            (str(idx), how, f"{totals.costs[idx]:g}", ", ".join(reported.get(idx, ["never, as it was refused"])))
            for idx, how in enumerate(self._sent, 1)
        ]
        printout.table(("Request", "Sent", "Units", "Reported as finished"), rows)
        balance = worker_totals.balance(totals.costs)
        summands = " + ".join(f"{totals.costs[idx]:g}" for idx in sorted(reported))
        printout.text(
            f"{summands} = {balance.received:g} units received "
            f"= {balance.served:g} served + {balance.failed:g} failed + {balance.in_flight:g} in flight"
        )
        if worker_totals.duplicates or autoscaler.malformed:
            raise Unexpected(f"reports went wrong: {worker_totals.duplicates} {autoscaler.malformed}")
        printout.good("the totals add up. Each request that was received is reported as finished once.")

    def _show_commands(self, client: ClientChild, assignments: list[dict[str, Any]]) -> None:
        self._printout.heading("Try it: in another terminal, from any folder")
        for command in (
            *by_client(client.url),
            *with_own_client(self.deployment),
            *by_hand(self.deployment, assignments),
        ):
            self._printout.command(*command)

    def _show_pages(self, client: ClientChild) -> None:
        printout, child = self._printout, self.backend.child
        printout.heading("Watch it: status pages, live in your browser")
        pages = [("worker", worker.status_page) for worker in self.deployment.workers]
        printout.table(("Part", "Status page"), [*pages, ("client", client.status_page)])
        if child is not None and child.pid is not None:
            kill = f"kill {child.pid}" if os.name == "posix" else f"taskkill /F /PID {child.pid}"
            meaning = "take the backend away, and see what the worker's page says; "
            printout.command(f"{meaning}it comes back after {RESTART_SECONDS:g} s", kill)

    def _show_backend(self, what: str) -> None:
        if not self.quiet:
            self._printout.event("backend", what)

    def _begin(self, heading: str, how: str) -> None:
        self._printout.heading(heading)
        self._sent.append(how)

    def _show_report(self, report: Report) -> None:
        if not self.quiet:
            self._printout.event("worker", describe(report))

    def _show_route(self, asked: Asked) -> None:
        self._asked = True
        if self.quiet:
            return
        if asked.url:
            what = f"assigns request {asked.answered_idx} ({units(asked.cost)}) to the worker and signs it"
        else:
            states = self.deployment.autoscaler.totals.states(asked.at)
            there = ", ".join(f"{count} {state}" for state, count in states.items()) or "there is none"
            what = f"no worker is ready ({there}): the client waits and asks again"
        self._printout.event("autoscaler", what)


def _expect(response: ClientResponse, status: int) -> None:
    if response.status != status:
        shown = response.body[:500].decode("utf-8", "replace").strip()
        raise Unexpected(f"the response was {response.status} where {status} was expected: {shown}")

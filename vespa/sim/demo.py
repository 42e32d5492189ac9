"""The demonstration: everything at work on one machine, requests answered, and commands to try."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.web.client import ResponseFailed

from vespa.sim.autoscaler import Report
from vespa.sim.customer import Answered, Customer, StreamedWords, Unexpected
from vespa.sim.lines import describe
from vespa.sim.signing import body_envelope, query_envelope
from vespa.sim.stage import NotReady, Stage
from vespa.sim.terminal import Terminal

CHAT = "/v1/chat/completions"
QUESTION: dict[str, Any] = {
    "model": "vespa-demo",
    "messages": [{"role": "user", "content": "What has just happened to my request?"}],
}
SHORT = 13
"""Words, and so tokens, in the answer's first two sentences."""
SETTLE_SECONDS = 15.0
SHOWN_OF_LOG = 15
FAILURES = (NotReady, Unexpected, CannotListenError, ResponseFailed, OSError, ValueError)


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
        self.stage = Stage(reactor, folder, environment, own_group=True, on_report=self._show_report)
        self.succeeded = False

    async def run(self) -> None:
        """Start everything, send requests, and print. Fails with one of FAILURES, or CancelledError at a Ctrl-C."""
        await self._start()
        autoscaler = self.stage.autoscaler
        customer = Customer(self._reactor, self.stage.autoscaler_url, autoscaler.endpoint, autoscaler.endpoint_key)
        await self._ask_plain(customer)
        await self._ask_streamed(customer)
        await self._ask_forged(customer)
        await self._show_books()
        self._show_commands(await customer.assignment(100))
        self.succeeded = True
        if not self._options.once:
            self._terminal.heading("Running until Ctrl-C. Reports, as they come:")
            await Deferred()

    async def _start(self) -> None:
        stage, terminal = self.stage, self._terminal
        stage.backend.tokens_per_second = self._options.rate
        await stage.start_autoscaler(self._options.autoscaler_port)
        await stage.start_backend(self._options.backend_port)
        worker = stage.start_worker(self._options.port, BENCHMARK_RUNS="1")
        terminal.heading("Vespa between a simulated autoscaler and a small backend, on this machine alone")
        terminal.line(f"autoscaler  {stage.autoscaler_url}  signs requests, takes reports")
        terminal.line(f"worker      {stage.worker_url}  Vespa itself: twistd -n vespa, process {worker.pid}")
        terminal.line(f"backend     {stage.backend_url}  speaks OpenAI's API, word by word")
        terminal.heading("The worker measures its backend. What it reports meanwhile:")
        await stage.until_ready()

    async def _ask_plain(self, customer: Customer) -> None:
        self._terminal.heading(f"A signed request, answered whole: POST {CHAT}")
        answered = await customer.call(await customer.assignment(SHORT), CHAT, {**QUESTION, "max_tokens": SHORT})
        _expect(answered, 200)
        self._terminal.flow(json.loads(answered.body)["choices"][0]["message"]["content"])
        self._terminal.end_flow()
        self._terminal.good(f"200 after {answered.seconds:.2f} s")

    async def _ask_streamed(self, customer: Customer) -> None:
        self._terminal.heading("The same, streamed")
        words = StreamedWords(self._terminal.flow)
        self._held = []  # so that no report falls into the running text
        answered = await customer.call(await customer.assignment(100), CHAT, {**QUESTION, "stream": True}, words.take)
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

    async def _ask_forged(self, customer: Customer) -> None:
        self._terminal.heading("The same, signed by somebody else")
        forged = {**await customer.assignment(100), "signature": "A" * 342 + "=="}
        answered = await customer.call(forged, CHAT, QUESTION)
        _expect(answered, 401)
        self._terminal.good(f"401 {answered.error_code}: the backend never saw it, and no report counts it")

    async def _show_books(self) -> None:
        books = self.stage.autoscaler.books
        (book,) = books.workers.values()
        self._terminal.heading("What the autoscaler knows now")
        await self.stage.until(
            lambda: len(book.deletes) == 2 and book.in_flight == 0 and book.balance(books.costs).adds_up,
            SETTLE_SECONDS,
            "reported in full",
        )
        balance = book.balance(books.costs)
        self._terminal.line(
            f"received {balance.received:g} = served {balance.served:g} + failed {balance.failed:g} "
            f"+ in flight {balance.in_flight:g}, in units of work"
        )
        told = ", ".join(f"request {idx} {' and '.join(statuses)}" for idx, statuses in sorted(book.deletes.items()))
        self._terminal.line(f"told finished, once each: {told}")
        if book.duplicates or self.stage.autoscaler.malformed:
            raise Unexpected(f"reports went wrong: {book.duplicates} {self.stage.autoscaler.malformed}")
        self._terminal.good("the books add up")

    def _show_commands(self, assignment: dict[str, Any]) -> None:
        plain = self._write("plain.json", body_envelope(assignment, QUESTION))
        streamed = self._write("stream.json", body_envelope(assignment, {**QUESTION, "stream": True}))
        query = self._write("query.txt", query_envelope(assignment).encode("ascii"))
        worker, terminal = self.stage.worker_url, self._terminal
        signed = f"the signature is request {assignment['request_idx']}'s, and good for as often as you like"
        terminal.heading(f"Try it: {signed}" if not self._options.once else "Without --once, these would work now")
        for meaning, command in (
            ("streamed", f"curl -N {worker}{CHAT} -H 'Content-Type: application/json' -d @{streamed}"),
            ("whole", f"curl {worker}{CHAT} -H 'Content-Type: application/json' -d @{plain}"),
            ("signed in the query, for any method", f"curl -G {worker}/v1/models -d @{query}"),
            ("not signed", f"curl -i {worker}/v1/models"),
            ("what the autoscaler was told", f"curl {self.stage.autoscaler_url}/ledger"),
        ):
            terminal.dim(f"# {meaning}")
            terminal.line(command)

    def _write(self, name: str, content: bytes) -> str:
        path = os.path.join(self._folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def silence(self) -> None:
        """Show no more reports."""
        self._held = []

    def _show_report(self, report: Report) -> None:
        line = describe(report)
        if line == self._last_line:
            return
        self._last_line = line
        if self._held is None:
            self._terminal.dim(line)
        else:
            self._held.append(line)


def _expect(answered: Answered, status: int) -> None:
    if answered.status != status:
        shown = answered.body[:500].decode("utf-8", "replace").strip()
        raise Unexpected(f"the worker answered {answered.status} where {status} was expected: {shown}")


async def _main(reactor: Any, options: argparse.Namespace, environment: Mapping[str, str]) -> None:
    terminal = Terminal(sys.stdout, environment)
    folder = tempfile.mkdtemp(prefix="vespa-demo-")
    demo = Demo(reactor, options, terminal, environment, folder)
    running = Deferred.fromCoroutine(demo.run())
    ended: Deferred[None] = Deferred()

    def shut_down() -> Deferred[None]:
        # Ctrl-C stops the reactor, which waits here until the worker has told its last.
        running.cancel()
        return ended

    reactor.addSystemEventTrigger("before", "shutdown", shut_down)
    # The worker is in a group of its own, where the end of a terminal does not reach it.
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(reactor.stop))
    code = 0
    try:
        await running
    except CancelledError:
        code = 0 if demo.succeeded else 130
    except FAILURES as error:
        code = 1
        terminal.end_flow()
        terminal.bad(str(error) or type(error).__name__)
        _show_log(terminal, demo)
    finally:
        demo.silence()
        worker_code = await demo.stage.stop()
        shutil.rmtree(folder, ignore_errors=True)
        ended.callback(None)
    if code == 0 and worker_code:
        terminal.bad(f"the worker ended with exit code {worker_code}")
        _show_log(terminal, demo)
        code = 1
    raise SystemExit(code)


def _show_log(terminal: Terminal, demo: Demo) -> None:
    worker = demo.stage.worker
    if worker is not None and worker.lines:
        terminal.heading("The last of the worker's log")
        for line in worker.lines[-SHOWN_OF_LOG:]:
            terminal.dim(line)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration in a reactor of its own, and return the exit code: 0 when all went as it should."""
    parser = argparse.ArgumentParser(
        prog="vespa-proxy demo", description="Show Vespa at work on this machine: nothing leaves it."
    )
    parser.add_argument("--once", action="store_true", help="exit after the demonstration")
    parser.add_argument("--port", type=int, default=0, help="the worker's port (default: any free one)")
    parser.add_argument("--rate", type=float, default=50.0, help="words a second of each answer (default: 50)")
    parser.add_argument("--autoscaler-port", type=int, default=0, help="the simulated autoscaler's port")
    parser.add_argument("--backend-port", type=int, default=0, help="the small backend's port")
    options = parser.parse_args(argv)
    if options.rate <= 0:
        parser.error("--rate must be above 0")
    try:
        react(_main, (options, os.environ))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1


if __name__ == "__main__":
    sys.exit(main())

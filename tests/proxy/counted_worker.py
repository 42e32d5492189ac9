"""
Counts the Python calls of a real worker: run as `python -m tests.proxy.counted_worker [tls]`, writes one JSON object.

The worker runs on its own reactor in the main thread, secured with a real key, and reports to an autoscaler. Client,
backend and autoscaler are blocking sockets in threads, which a profile of the reactor's thread does not see. The object
has `request` and `chunk`, each with the number of `units` that went through, the `reports` that came meanwhile, and how
often each of Vespa's functions was called (`calls`, by file and name).
"""

from __future__ import annotations

import json
import os
import queue
import socket
import ssl
import sys
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import CodeType, FrameType
from typing import Any, Final

from tests.system.certificates import Pair
from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.key import cache_key
from vespa.config.worker_reading import load
from vespa.simulator.launch import ROOT, free_port, worker_environment
from vespa.simulator.signing import Signer
from vespa.transport.platform import install_own_reactor
from vespa.transport.reactor import LeanReactor

REQUESTS: Final = 600
CHUNKS: Final = 600
WARM_UP: Final = 100
"""How many go before those that are counted: connections are made, heads and chunks' sizes are known."""
BODY_BYTES: Final = range(900, 1200)
CHUNK_BYTES: Final = range(180, 230)
WAIT_MAX_SECONDS: Final = 20.0
BENCHMARK: Final = "tests.e2e.benchmark:benchmark"
DATE: Final = b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"


class CallCount:
    """Counts the calls of Vespa's functions on the thread that begins it; the simulator's are not the worker's."""

    def __init__(self) -> None:
        self._calls: Counter[CodeType] = Counter()

    def begin(self) -> None:
        """Count from here on."""
        self._calls.clear()
        sys.setprofile(self._count)

    def end(self) -> dict[str, int]:
        """Count no more; how often each function was called, by file and name."""
        sys.setprofile(None)
        ours = os.path.join(ROOT, "vespa", "")
        simulated = os.path.join(ours, "simulator", "")
        calls: Counter[str] = Counter()
        for code, times in self._calls.items():
            path = code.co_filename
            if path.startswith(ours) and not path.startswith(simulated):
                name = getattr(code, "co_qualname", code.co_name)  # the first since Python 3.11
                calls[f"{path[len(ours) :]} {name}"] += times
        return dict(calls.most_common())

    def _count(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self._calls[frame.f_code] += 1


class Autoscaler(ThreadingHTTPServer):
    """Gives its public key to whoever asks, and takes every report."""

    daemon_threads = True

    def __init__(self, signer: Signer) -> None:
        super().__init__(("127.0.0.1", 0), AutoscalerHandler)
        self.pem = signer.pem
        self.reports = 0


class AutoscalerHandler(BaseHTTPRequestHandler):
    """One connection of the worker's."""

    protocol_version = "HTTP/1.1"
    server: Autoscaler

    def do_GET(self) -> None:
        """The public key."""
        self._respond(self.server.pem)

    def do_POST(self) -> None:
        """A report."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.reports += 1
        self._respond(b"{}")

    def _respond(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: what is written is the counts."""


class Backend(threading.Thread):
    """
    Responds to each request at once and in one write, and to one for a stream with as many chunks as it is asked for.

    A body has 900 to 1,200 bytes: the lengths vary in digits too.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.chunks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        """What is to be written next of the stream; None ends it."""

    def run(self) -> None:
        """Take connections, each in a thread of its own."""
        while True:
            connection, _ = self._listening.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file = connection.makefile("rb")
        served = 0
        while head := read_head(file):
            file.read(content_length(head))
            served += 1
            if b"/stream " in head:
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Type: text/event-stream\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"
                )
                while (content := self.chunks.get(timeout=WAIT_MAX_SECONDS)) is not None:
                    connection.sendall(b"%x\r\n%b\r\n" % (len(content), content))
                connection.sendall(b"0\r\n\r\n")
                continue
            body = json.dumps({"text": "r" * varied(BODY_BYTES, served)}).encode()
            connection.sendall(
                b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )


def varied(lengths: range, number: int) -> int:
    """A length among these, another for each number until all had their turn."""
    return lengths[number * 37 % len(lengths)]


def read_head(file: Any) -> bytes:
    """A head with its end, or nothing at the end of the connection."""
    lines = []
    while (line := file.readline()) not in {b"", b"\r\n"}:
        lines.append(line)
    return b"".join(lines)


def content_length(head: bytes) -> int:
    """The length that a head says; 0 where it says none."""
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or b"0")


class Client:
    """One keep-alive connection to the worker, each request in one write and signed as the autoscaler signs."""

    def __init__(self, port: int, signer: Signer, trust: str | None) -> None:
        connection = socket.create_connection(("127.0.0.1", port), WAIT_MAX_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if trust is not None:
            context = ssl.create_default_context(cafile=trust)
            connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
        scheme = "http" if trust is None else "https"
        self._auth = signer.assignment(f"{scheme}://127.0.0.1:{port}")
        self._connection = connection
        self._file = connection.makefile("rb")
        self._sent = 0

    def send(self, path: bytes) -> None:
        """A POST with a payload in a signed envelope."""
        self._sent += 1
        auth = {**self._auth, "request_idx": self._sent, "reqnum": self._sent}
        payload = {"prompt": "p" * varied(BODY_BYTES, self._sent + 7)}
        body = json.dumps({"auth_data": auth, "payload": payload}).encode()  # as Vast's own client writes it
        self._connection.sendall(
            b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (path, len(body), body)
        )

    def receive(self) -> int:
        """The whole response to a request; its status."""
        head = self.receive_head()
        self._file.read(content_length(head))
        return int(head.split(b" ")[1])

    def receive_head(self) -> bytes:
        """The head of a response."""
        head = read_head(self._file)
        if not head:
            raise ConnectionError("the worker closed the connection")
        return head

    def receive_chunk(self) -> bytes:
        """The content of one chunk; nothing at the end."""
        size = int(self._file.readline(), 16)
        content: bytes = self._file.read(size + 2)
        return content[:-2]


class Counting:
    """What the client's thread does: first everything to warm up, then what is counted."""

    def __init__(self, reactor: Any, client: Callable[[], Client], backend: Backend, autoscaler: Autoscaler) -> None:
        self._reactor = reactor
        self._connect = client
        self._backend = backend
        self._autoscaler = autoscaler
        self._count = CallCount()
        self.result: dict[str, Any] = {}

    def run(self) -> None:
        """Fill `result`, then stop the reactor, whatever happens."""
        try:
            client = self._connect_when_ready()
            self.result = {"request": self._requests(client), "chunk": self._chunks(client)}
        except Exception:
            traceback.print_exc()
        finally:
            self._reactor.callFromThread(self._reactor.stop)

    def _connect_when_ready(self) -> Client:
        """A connection to a worker that serves: before it has the key, it refuses with 503."""
        pause = threading.Event()
        for _ in range(int(WAIT_MAX_SECONDS / 0.05)):
            try:
                client = self._connect()
                client.send(b"/json")
                if client.receive() == 200:
                    return client
            except ConnectionRefusedError:
                pass
            pause.wait(0.05)
        raise AssertionError("the worker did not become ready")

    def _requests(self, client: Client) -> dict[str, Any]:
        def request() -> None:
            client.send(b"/json")
            status = client.receive()
            assert status == 200, status

        return self._counted(request, REQUESTS, reports=1)

    def _chunks(self, client: Client) -> dict[str, Any]:
        number = 0

        def chunk() -> None:
            nonlocal number
            number += 1
            content = b"c" * varied(CHUNK_BYTES, number)
            self._backend.chunks.put(content)
            received = client.receive_chunk()
            assert received == content, f"chunk {number}"

        client.send(b"/stream")
        assert b" 200 " in client.receive_head()
        result = self._counted(chunk, CHUNKS)
        self._backend.chunks.put(None)
        assert client.receive_chunk() == b""
        return result

    def _counted(self, unit: Callable[[], None], least: int, reports: int = 0) -> dict[str, Any]:
        """Count the calls of `least` units, or more until so many reports came."""
        for _ in range(WARM_UP):
            unit()
        before, units = self._autoscaler.reports, 0
        self._on_reactor(self._count.begin)
        while units < least or self._autoscaler.reports - before < reports:
            unit()
            units += 1
        calls = self._on_reactor(self._count.end)
        return {"units": units, "reports": self._autoscaler.reports - before, "calls": calls}

    def _on_reactor(self, call: Callable[[], Any]) -> Any:
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._reactor.callFromThread(lambda: done.put(call()))
        return done.get(timeout=WAIT_MAX_SECONDS)


def main(secure: bool) -> int:
    """Write the counts to standard output; the exit code."""
    install_own_reactor()  # before anything imports another: what the worker is made of does
    from twisted.internet import reactor

    from vespa.worker.service import make_worker

    running: Any = reactor
    assert isinstance(running, LeanReactor), "the calls of another reactor are not Vespa's"
    signer, backend = Signer(), Backend()
    autoscaler = Autoscaler(signer)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="vespa-test-") as folder:
        environment = worker_environment(
            port=port,
            backend_url=f"http://127.0.0.1:{backend.port}",
            report_addr=f"http://127.0.0.1:{autoscaler.server_address[1]}",
            cache_file=os.path.join(folder, "benchmark"),
            benchmark=BENCHMARK,
        )
        trust = None
        if secure:
            pair = Pair(folder)
            trust = pair.cert_file
            environment["USE_SSL"] = "true"
            environment["VESPA_SSL_CERT_FILE"], environment["VESPA_SSL_KEY_FILE"] = pair.cert_file, pair.key_file
        key = cache_key(BENCHMARK, environment["VESPA_BACKEND_URL"], environment)
        BenchmarkCache(environment["VESPA_BENCHMARK_CACHE_FILE"], key).save(1e6)
        worker = make_worker(running, load(environment), environment)
        counting = Counting(running, lambda: Client(port, signer, trust), backend, autoscaler)
        backend.start()
        threading.Thread(target=autoscaler.serve_forever, daemon=True).start()
        running.callWhenRunning(worker.startService)
        running.addSystemEventTrigger("before", "shutdown", worker.stopService)
        running.callWhenRunning(threading.Thread(target=counting.run, daemon=True).start)
        running.run()
    print(json.dumps(counting.result))
    return 0 if counting.result else 1


if __name__ == "__main__":
    sys.exit(main("tls" in sys.argv[1:]))

"""
Programs that embed a client, as processes of their own: `python -m tests.client.embedded_script NAME`.

The global reactor is poisoned: whoever imports it is named, and gets an ImportError.
"""

from __future__ import annotations

import asyncio
import http.client
import http.server
import os
import ssl
import sys
import threading
import traceback
import urllib.error
import urllib.request
from typing import Any

imported: list[str] = []


class Poison:
    """A finder that knows one module, and lets nobody have it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "twisted.internet.reactor":
            where = [frame for frame in traceback.extract_stack()[:-1] if "importlib" not in frame.filename]
            imported.append(f"{where[-1].filename}:{where[-1].lineno}")
            raise ImportError("the global reactor is not to be touched")


if "twisted.internet.reactor" in sys.modules:
    sys.exit("there is a global reactor already: nobody would be seen importing it")
sys.meta_path.insert(0, Poison())

from tests.client.embedding import StubClient, descriptors, fetch  # noqa: E402
from vespa.client import VastClient  # noqa: E402
from vespa.simulator.launch import free_port  # noqa: E402

CHAT = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}'


def client(**settings: Any) -> VastClient:
    environment = os.environ
    settings.setdefault("autoscaler_url", environment["AUTOSCALER"])
    return VastClient(environment["ENDPOINT"], environment["KEY"], console_url=environment["CONSOLE"], **settings)


def chat(url: str) -> bytes:
    request = urllib.request.Request(f"{url}/v1/chat/completions", CHAT, {"Content-Type": "application/json"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
            answer: bytes = response.read()
            return answer
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read()) from None


def tls_front(target: str) -> str:
    """The autoscaler over TLS, by name, in threads of this process; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name: self.headers[name] for name in ("Authorization", "Content-Type")}
            with urllib.request.urlopen(urllib.request.Request(target + self.path, body, headers)) as response:
                answer = response.read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["CERTIFICATE"], os.environ["CERTIFICATE_KEY"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"https://localhost:{server.server_port}"


async def calls() -> None:
    """Blocking calls within the coroutine, through the simulator; then again with the autoscaler behind TLS."""
    for autoscaler in (os.environ["AUTOSCALER"], tls_front(os.environ["AUTOSCALER"])):
        async with client(autoscaler_url=autoscaler, timeout=30.0) as started:
            for _ in range(2):
                assert b'"choices"' in chat(started.url)
            assert b'"choices"' in await asyncio.to_thread(chat, started.url)


async def traceless() -> None:
    """Whole calls, a stream that is left in the middle, and a stop while one goes on: nothing is left of any."""
    before: set[str] = set()
    for turn in range(4):
        async with client(
            drain_timeout=0.2, autoscaler_url=os.environ["AUTOSCALER"].replace("127.0.0.1", "localhost")
        ) as started:
            assert b'"choices"' in chat(started.url)
            left, going_on = stream(started.url), stream(started.url)
            assert left.read(5) == going_on.read(5) == b"data:"
            left.close()
        try:
            while going_on.read1():
                pass
            raise SystemExit("a stream that was cut has a clean end")
        except (http.client.IncompleteRead, ConnectionError):
            going_on.close()
        assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
        if not turn:
            before = descriptors()
    assert len(descriptors()) <= len(before), descriptors() - before


def stream(url: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    body = CHAT.replace(b'"max_tokens": 3', b'"max_tokens": 100000, "stream": true')
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    return connection.getresponse()


async def leave_open() -> None:
    """Started, used, and never stopped; the autoscaler's name has been looked up by then."""
    started = client(autoscaler_url=os.environ["AUTOSCALER"].replace("127.0.0.1", "localhost"))
    await started.start()
    assert b'"choices"' in chat(started.url)


def stub_left_open() -> None:
    """The same in synchronous code, and without the network."""
    started = StubClient()
    started.__enter__()
    assert fetch(started.url) == b"ok"


def forked() -> None:
    """A child process leaves the client's `with`, and begins a session: the client goes on in its parent."""
    with StubClient() as started:
        child = os.fork()
        if not child:
            assert fetch(started.url) == b"ok"
            try:
                with started.session():
                    raise SystemExit("a session without its client")
            except RuntimeError:
                pass
        else:
            assert os.waitpid(child, 0)[1] == 0
            assert fetch(started.url) == b"ok"
    if not child:
        os._exit(0)


def reactor_afterwards() -> None:
    """Whoever installs a global reactor after the client has run gets the one it wants."""
    with StubClient() as started:
        assert fetch(started.url) == b"ok"
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Poison)]
        from twisted.internet import selectreactor

        selectreactor.install()
        from twisted.internet import reactor

        assert type(reactor) is selectreactor.SelectReactor
        reactor.callLater(0.05, reactor.stop)
        reactor.run()
        assert fetch(started.url) == b"ok"


def admin_port() -> None:
    """A client with an admin port, asked for everything that it shows."""
    port = free_port()
    endpoint = f"tcp:{port}:interface=127.0.0.1"
    with VastClient("demo", "endpoint-key", autoscaler_url="http://127.0.0.1:9", admin_listen=endpoint):
        address = f"http://127.0.0.1:{port}"
        assert fetch(f"{address}/readyz") == b"ready\n"
        for path in ("", "status.json", "metrics"):
            assert len(fetch(f"{address}/{path}")) > 1000, path
        with urllib.request.urlopen(f"{address}/events", timeout=30) as events:
            lines = [events.readline() for _ in range(8)]
        assert lines.count(b"event: status\n") == 2, lines


if __name__ == "__main__":
    program = globals()[sys.argv[1]]
    if asyncio.iscoroutinefunction(program):
        asyncio.run(program())
    else:
        program()
    print("touched:", imported, flush=True)

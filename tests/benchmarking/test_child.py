"""Benchmarks in real processes: what a user's code can do, and what the worker then has."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import textwrap
from typing import Any

import aiohttp
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, TestCase
from twisted.web.server import Site

from tests.benchmarking.children import ENVIRONMENT, Backend, ChildCase, death, reactor
from tests.system.certificates import Pair
from vespa.benchmarking import isolated
from vespa.benchmarking.process import TERM_SECONDS, BenchmarkError
from vespa.benchmarking.runner import Runner, child_environment

SCENARIO = '''
import asyncio, io, json

from aiohttp import ClientError, ClientSession, ClientTimeout, FormData
import aiohttp


async def tell(url: str, session: ClientSession) -> dict:
    """Everything that this session does, as plain values."""
    told = {}

    async def note(name, request, read):
        try:
            async with request as response:
                told[name] = [response.status, response.ok, response.reason, await read(response)]
        except (ClientError, asyncio.TimeoutError) as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            known = ("ClientResponseError", "ClientPayloadError", "ClientConnectorError", "TooManyRedirects")
            told[name] = [kind for kind in kinds if kind in known + ("TimeoutError",)]

    async def json_(response): return await response.json(content_type=None)
    async def text(response): return await response.text()
    async def lines(response): return [line.decode() async for line in response.content]
    async def nothing(response): return None
    async def first(response):
        return [(await response.content.readline()).decode(), (await response.content.read(4)).decode()]
    async def headers(response):
        return [response.headers["x-many"], response.headers.getall("X-MANY"), "X-Many" in response.headers,
                response.headers.get("no"), [v for k, v in response.headers.items() if k == "X-Many"]]
    async def status(response): response.raise_for_status()

    form = FormData({"model": "m"})
    form.add_field("file", b"RIFF", filename="a.wav", content_type="audio/wav")
    await note("get", session.get("/echo", params={"a": 1, "b": ["x", "y"]}), json_)
    await note("query", session.get("/echo?x=1", params=[("y", "1 2")]), json_)
    await note("json", session.post("/echo", json={"a": "\\u00e9"}, headers={"X-Mine": "1"}), json_)
    await note("bytes", session.put("/echo", data=b"raw"), json_)
    await note("text body", session.patch("/echo", data="n\\u00e9"), json_)
    await note("form", session.post("/echo", data={"a": "1", "b": "c d"}), json_)
    await note("multipart", session.post("/echo", data=form), json_)
    await note("delete", session.delete("/echo"), json_)
    await note("head", session.head("/echo"), text)
    await note("request", session.request("GET", "/echo"), json_)
    await note("absolute", session.get(url + "/echo"), json_)
    await note("auth", session.get("/echo", auth=aiohttp.BasicAuth("me", "pw")), json_)
    await note("no certificate checked", session.get("/echo", ssl=False), json_)
    await note("lines", session.get("/lines"), lines)
    await note("parts", session.get("/lines"), first)
    await note("broken", session.get("/broken"), text)
    await note("raised", session.get("/broken"), status)
    await note("raised at once", session.get("/broken", raise_for_status=True), text)
    await note("text", session.get("/text"), text)
    await note("headers", session.get("/many"), headers)
    await note("moved", session.post("/moved", json={}), json_)
    await note("not moved", session.get("/moved", allow_redirects=False), text)
    await note("kept", session.post("/kept", data=b"again"), json_)
    await note("circle", session.get("/circle"), text)
    await note("cut", session.get("/cut"), text)
    await note("timeout", session.get("/never", timeout=ClientTimeout(total=0.05)), nothing)
    await note("refused", session.get("http://127.0.0.1:1/"), nothing)
    response = await session.post("/echo", json=[1])
    told["awaited"] = [response.status, await response.json()]
    many = await asyncio.gather(*[session.get("/text") for _ in range(20)])
    told["gathered"] = [await each.text() for each in many]
    try:
        await asyncio.wait_for(session.get("/never"), 0.05)
    except asyncio.TimeoutError:
        told["waited for"] = "timeout"
    return told


async def benchmark(url, session):
    told = await tell(url, session)
    for name, value in told.items():
        print(json.dumps([name, value]))
    await asyncio.sleep(0)
    return 4.5
'''


WORKER = """
import os, sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from vespa.benchmarking.runner import Runner

def heard(line):
    print(line, flush=True)
    os._exit(0)

def begin():
    runner = Runner(reactor, reactor, dict(os.environ))
    Deferred.fromCoroutine(runner.run(sys.argv[1], "http://127.0.0.1:1", timeout=60, on_progress=heard))

reactor.callWhenRunning(begin)
reactor.run()
"""


# A worker as twistd makes it, up to its start: which of these modules it has imported by then.
STARTING = """
import importlib, os, sys
for name in ("vespa.tap", "vespa.client_tap", "vespa.cli", "vespa.worker.service", "vespa.worker.launch"):
    importlib.import_module(name)
from vespa import tap
options = tap.Options()
options.parseOptions([])
service = tap.makeService(options)
service.startService()
print(*sorted({"aiohttp", "yarl", "vespa.worker.service"} & set(sys.modules)), flush=True)
import vespa.benchmarking.child
print("aiohttp" in sys.modules, flush=True)
os._exit(0)
"""


class ImportTests(TestCase):
    timeout = 60

    async def test_worker_without_aiohttp(self) -> None:
        """A worker that has a benchmark to run starts without aiohttp: only the benchmark's own process imports it."""
        environment = {
            **ENVIRONMENT,
            "VESPA_UNSECURED": "true",
            "VESPA_LISTEN": "tcp:0:interface=127.0.0.1",
            "VESPA_BACKEND_URL": "http://127.0.0.1:1",
            "VESPA_BENCHMARK": "benchmarks.openai_chat:benchmark",
            "VESPA_BENCHMARK_CACHE_FILE": os.devnull,
        }
        out, err, _ = await getProcessOutputAndValue(sys.executable, ["-c", STARTING], env=environment)
        self.assertEqual(out.decode().splitlines()[-2:], ["vespa.worker.service", "True"], err.decode())


class Spoken(ProcessProtocol):
    """A process with three descriptors that is given one order; what it writes on 1 and 2."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.written = {1: b"", 2: b""}
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(json.dumps(self.order).encode() + b"\n")

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.written[childFD] += data

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)


class DescriptorTests(ChildCase):
    async def test_three(self) -> None:
        """With three descriptors, as on Windows, it answers on 1, and whatever the benchmark writes there goes to 2."""
        self.path.write_text("import os\nasync def benchmark(url, session):\n    os.write(1, b'said')\n    return 3\n")
        order = {"spec": f"{self.path}:benchmark", "backend_url": self.url, "ca_file": "", "authorization": ""}
        process = Spoken({**order, "check": False})
        reactor.spawnProcess(process, sys.executable, [sys.executable, isolated.__file__, "1"], env=ENVIRONMENT)
        await process.ended
        group, result = map(json.loads, process.written[1].splitlines())
        self.assertEqual((list(group), result), (["group"], {"result": 3.0, "concurrency": 0}))
        self.assertEqual(process.written[2], b"said")


class ContractTests(ChildCase):
    async def scenario(self, **changes: Any) -> dict[str, Any]:
        self.serve()
        self.assertEqual(await self.start(SCENARIO, **changes), 4.5)
        return dict(json.loads(line) for line in self.lines if line.startswith("["))

    async def test_as_aiohttp(self) -> None:
        """A benchmark sees the same through this session as through one of aiohttp's that nobody has set up."""
        ours = await self.scenario()
        source: dict[str, Any] = {}
        exec(compile(SCENARIO, "scenario", "exec"), source)

        async def theirs() -> dict[str, Any]:
            async with aiohttp.ClientSession(self.url) as session:
                told: dict[str, Any] = await source["tell"](self.url, session)
                return told

        self.maxDiff = None
        self.assertEqual(ours, await deferToThread(asyncio.run, theirs()))

    async def test_key(self) -> None:
        """Requests to the backend carry its key, unless the benchmark sets one; requests elsewhere do not."""
        source = """
            import os, aiohttp
            async def benchmark(url, session):
                async def key(where, session=session, **options):
                    async with session.get(where, **options) as response:
                        return (await response.json())["auth"]
                assert await key("/echo") == "Bearer k", await key("/echo")
                assert await key("/echo", headers={"Authorization": "mine"}) == "mine"
                assert await key(url.replace("127.0.0.1", "localhost") + "/echo") is None
                async with aiohttp.ClientSession(url) as another:
                    assert await key("/echo", another) is None
                assert "Bearer" not in str(os.environ)
                return 1
            """
        self.serve()
        environment = {**ENVIRONMENT, "VESPA_BACKEND_AUTHORIZATION": "Bearer k"}
        self.assertEqual(await self.start(source, environment=environment, authorization="Bearer k"), 1.0)

    async def test_unix(self) -> None:
        """A backend on a unix socket is measured like any other."""
        socket = os.path.relpath(self.folder / "s")
        port = reactor.listenUNIX(socket, Site(Backend()))
        self.addCleanup(port.stopListening)
        self.url = f"unix:{socket}"
        source = """
            async def benchmark(url, session):
                async with session.get("/lines") as response:
                    print(await response.text())
                async with session.get(url + "/echo") as response:
                    return len(await response.read())
            """
        self.assertGreater(await self.start(source), 10)
        self.assertIn("data: 1", self.lines)

    async def test_tls(self) -> None:
        """A backend over TLS must show a certificate of the CA file's, where there is one, or else of the system's."""
        pair = Pair(str(self.folder))
        endpoint = f"ssl:0:privateKey={pair.key_file}:certKey={pair.cert_file}:interface=127.0.0.1"
        port = await serverFromString(reactor, endpoint).listen(Site(Backend()))
        self.addCleanup(port.stopListening)
        self.url = f"https://127.0.0.1:{port.getHost().port}"
        source = """
            async def benchmark(url, session):
                async with session.get("/text") as response:
                    return len(await response.read())
            """
        self.assertEqual(await self.start(source, ca_file=pair.cert_file), 4.0)
        self.assertIn("certificate verify failed", await self.error(source))
        self.assertIn("No such file", await self.error(source, ca_file=f"{self.folder}/none"))
        self.assertIn("holds no certificate", await self.error(source, ca_file=pair.key_file))

    async def test_tls_names(self) -> None:
        """A certificate of a trusted root that names nobody, or somebody else, is refused."""
        for names in ((), ("other.example",)):
            pair = Pair(str(self.folder), names=names)
            endpoint = f"ssl:0:privateKey={pair.key_file}:certKey={pair.cert_file}:interface=127.0.0.1"
            port = await serverFromString(reactor, endpoint).listen(Site(Backend()))
            self.addCleanup(port.stopListening)
            self.url = f"https://127.0.0.1:{port.getHost().port}"
            source = """
                async def benchmark(url, session):
                    async with session.get("/text") as response:
                        return len(await response.read())
                """
            self.assertIn("certificate verify failed", await self.error(source, ca_file=pair.cert_file))

    async def test_ipv6(self) -> None:
        """A backend on an IPv6 address is measured like any other, its key sent."""
        try:
            port = reactor.listenTCP(0, Site(Backend()), interface="::1")
        except CannotListenError:
            raise SkipTest("no IPv6 here") from None
        self.addCleanup(port.stopListening)
        self.url = f"http://[::1]:{port.getHost().port}"
        source = """
            async def benchmark(url, session):
                async with session.get("/echo") as response:
                    print((await response.json())["auth"])
                async with session.get(url + "/echo") as response:
                    return 2 if (await response.json())["auth"] else 1
            """
        self.assertEqual(await self.start(source, authorization="Bearer a-long-key"), 2.0)
        self.assertIn("[hidden]", self.lines)


class OutcomeTests(ChildCase):
    async def test_surroundings(self) -> None:
        """The benchmark has its environment, its siblings, the current folder, no secret and nothing to read."""
        (self.folder / "sibling.py").write_text("x = 2")
        source = """
            import logging, os, sys, sibling
            async def benchmark(url, session):
                assert os.getcwd() == sys.path[-2] and "TOKEN" not in str(os.environ), sys.path
                assert sys.stdin.read() == ""
                logging.getLogger("mine").info("logged")
                print("printed")
                return sibling.x + len(os.environ["MODEL_NAME"])
            """
        secret = {**ENVIRONMENT, "MODEL_NAME": "tiny", "MASTER_TOKEN": "x"}
        self.assertEqual(await self.start(source, environment=secret), 6.0)
        self.assertEqual(sorted(self.lines), ["INFO mine: logged", "printed"])

    async def test_relative(self) -> None:
        """A file may be named from the current folder, and a function may be decorated or an object."""
        source = """
            import functools
            def wrap(function):
                @functools.wraps(function)
                def inner(*arguments):
                    return function(*arguments)
                return inner
            @wrap
            async def decorated(url, session): return 1
            class Measure:
                async def __call__(self, url, session): return 2
            thing = Measure()
            """
        relative = os.path.join(".", os.path.relpath(self.path))
        self.assertEqual(await self.start(source, f"{relative}:decorated"), 1.0)
        self.assertEqual(await self.start(source, f"{relative}:thing"), 2.0)

    async def test_raises(self) -> None:
        """An exception is told in its last line, with the place in the user's file; the traceback is in the log."""
        source = """
            import json
            async def measure(): json.loads("{")
            async def benchmark(url, session): await measure()
            """
        error = await self.error(source)
        self.assertIn("json.decoder.JSONDecodeError: Expecting property name", error)
        self.assertIn(f"({self.path}:3, in measure)", error)
        self.assertIn("Traceback (most recent call last):", self.lines)

    async def test_backend_gone(self) -> None:
        """A backend that refuses the connection is an error that names it."""
        source = """
            async def benchmark(url, session):
                async with session.get("/x") as response: pass
            """
        self.assertIn("127.0.0.1:1", await self.error(source))

    async def test_results(self) -> None:
        """A result other than a finite number above zero is an error."""
        for value, reason in (("float('nan')", "finite"), ("0", "above zero"), ("True", "bool"), ("None", "NoneType")):
            self.assertIn(reason, await self.error(f"async def benchmark(url, session): return {value}"))

    async def test_dies(self) -> None:
        """A process that dies is an error that says how."""
        for way, expected in (
            ("os._exit(3)", "ended with status 3"),
            ("os._exit(0)", "its process ended before"),
            ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by signal 11"),
            ("os.kill(os.getpid(), signal.SIGTERM)", "killed by signal 15"),
            ("sys.exit(4)", "SystemExit: 4"),
            ("os.closerange(0, 100)", ""),
        ):
            source = f"import os, signal, sys\nasync def benchmark(url, session): {way}"
            self.assertIn(expected, await self.error(source))

    async def test_deadline(self) -> None:
        """A benchmark that never ends is stopped at the deadline."""
        source = """
            import asyncio
            async def benchmark(url, session):
                print("begun")
                await asyncio.Event().wait()
            """
        begun = self.says("begun")
        error = Deferred.fromCoroutine(self.error(source, timeout=30.0))
        await begun
        self.clock.advance(30.0)
        self.assertEqual(await error, "it took longer than 30 s")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_deaf(self) -> None:
        """One that blocks and ignores SIGTERM is killed, and what it started with it."""
        source = """
            import os, signal, subprocess, sys
            async def benchmark(url, session):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                started = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
                print("started", started.pid)
                print("begun")
                while True: signal.pause()
            """
        begun = self.says("begun")
        error = Deferred.fromCoroutine(self.error(source, timeout=30.0))
        await begun
        [started] = [int(line.split()[1]) for line in self.lines if line.startswith("started")]
        self.clock.advance(30.0)
        self.clock.advance(TERM_SECONDS)
        self.assertEqual(await error, "it took longer than 30 s")
        await death(started)

    async def test_cancelled(self) -> None:
        """Cancelled, the process is gone when the Deferred fires."""
        source = """
            import os, time
            async def benchmark(url, session):
                print("pid", os.getpid())
                print("begun")
                time.sleep(1000)
            """
        begun = self.says("begun")
        running = self.start(source)
        await begun
        running.cancel()
        await self.assertFailure(running, CancelledError)
        [pid] = [int(line.split()[1]) for line in self.lines if line.startswith("pid")]
        await death(pid)

    async def test_output(self) -> None:
        """However much is printed, few lines arrive, and the result does."""
        source = """
            import os, sys
            async def benchmark(url, session):
                for _ in range(200_000): print("x" * 50)
                sys.stderr.write("y" * 5_000_000)
                os.write(1, bytes(range(256)) * 1000)
                return 9
            """
        self.assertEqual(await self.start(source), 9.0)
        self.assertLess(len(self.lines), 200)
        self.assertLess(max(map(len, self.lines)), 600)

    async def test_leaves_things_behind(self) -> None:
        """Tasks and threads left running do not keep the result, nor the process, from ending."""
        source = """
            import asyncio, os, threading
            async def stubborn():
                while True:
                    try: await asyncio.sleep(1000)
                    except asyncio.CancelledError: pass
            async def benchmark(url, session):
                asyncio.ensure_future(asyncio.sleep(1000))
                asyncio.ensure_future(stubborn())
                threading.Thread(target=threading.Event().wait).start()
                print("pid", os.getpid())
                return 5
            """
        self.assertEqual(await self.start(source, clock=reactor), 5.0)
        [pid] = [int(line.split()[1]) for line in self.lines if line.startswith("pid")]
        await death(pid)

    async def test_worker_dies(self) -> None:
        """When the worker is killed, its benchmark goes with it."""
        self.path.write_text(
            "import os, time\nasync def benchmark(url, session):\n    print('pid', os.getpid())\n    time.sleep(1000)\n"
        )
        command = ["-c", WORKER, f"{self.path}:benchmark"]
        out, _, _ = await getProcessOutputAndValue(sys.executable, command, env=child_environment(os.environ))
        await death(int(out.split()[1]))

    async def test_built_in_errors(self) -> None:
        """What a built-in benchmark finds wrong with the backend is one sentence, without a traceback."""
        for spec in ("openai_chat", "tgi", "comfyui"):
            error = await self.error(spec=f"benchmarks.{spec}:benchmark")
            self.assertIn("no server listens at 127.0.0.1:1: the backend is not up yet", error)
            self.assertNotIn(".py", error)
        self.assertNotIn("Traceback", "".join(self.lines))
        await self.error("async def benchmark(url, session): raise ValueError('mine')")
        self.assertIn("Traceback", "".join(self.lines))

    async def test_check(self) -> None:
        """A check imports the benchmark and does not run it."""

        async def checked(source: str = "", spec: str = "") -> str:
            self.path.write_text(textwrap.dedent(source))
            try:
                runner = Runner(reactor, self.clock, ENVIRONMENT)
                await runner.check(spec or f"{self.path}:benchmark", timeout=30.0, on_progress=self.heard)
            except BenchmarkError as error:
                return str(error)
            return ""

        self.assertEqual(await checked("async def benchmark(url, session): print('it ran')"), "")
        self.assertNotIn("it ran", self.lines)
        for spec in ("openai_chat", "tgi", "comfyui"):
            self.assertEqual(await checked(spec=f"benchmarks.{spec}:benchmark"), "")
        self.assertIn("SyntaxError", await checked("async def benchmark(url"))
        self.assertIn("not a coroutine function", await checked("def benchmark(url, session): return 1"))
        self.assertIn("did you mean", await checked(spec="benchmarks.vllm:benchmark"))

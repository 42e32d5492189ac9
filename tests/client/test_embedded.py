"""The client within a program: whatever loop it has, started and stopped without a trace."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread, deferToThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.client.embedding import Stub, StubClient, descriptors, fetch
from vespa.client import VastClient


class Traceless(SynchronousTestCase):
    """A test after which no thread and no descriptor is left."""

    def setUp(self) -> None:
        # What a first loop and a first port leave behind, once, is not ours: Twisted reserves a descriptor.
        asyncio.run(asyncio.sleep(0))
        with StubClient():
            pass
        self.threads = set(threading.enumerate())
        self.descriptors = descriptors()

    def tearDown(self) -> None:
        self.assertEqual(set(threading.enumerate()) - self.threads, set())
        self.assertEqual(descriptors() - self.descriptors, set())


class AsyncioTests(Traceless):
    def test_start_and_stop(self) -> None:
        """Between start and stop blocking calls may be made in the very coroutine that started it."""

        async def main() -> bytes:
            client = StubClient()
            await client.start()
            response = fetch(client.url)
            await client.stop()
            return response

        self.assertEqual(asyncio.run(main()), b"ok")

    def test_async_with(self) -> None:
        """`async with` stops it at the end, also when the body raises."""

        async def main() -> None:
            async with client:
                fetch(client.url)
                raise ZeroDivisionError

        client = StubClient()
        self.assertRaises(ZeroDivisionError, asyncio.run, main())
        self.assertRaises(RuntimeError, lambda: client.url)

    def test_again_and_in_another_loop(self) -> None:
        """A stopped client may be started again, in the same loop or in the next."""
        client = StubClient()

        async def main() -> None:
            for _ in range(2):
                async with client:
                    self.assertEqual(fetch(client.url), b"ok")

        asyncio.run(main())
        asyncio.run(main())
        self.assertEqual(len({id(stub.reactor) for stub in client.stubs}), 4)

    def test_outlives_its_loop(self) -> None:
        """The proxy is in no loop of the program's: it may be started in one and stopped in the next."""
        client = StubClient()

        async def stop() -> None:
            await client.stop()

        async def start() -> None:
            await client.start()

        asyncio.run(start())
        self.assertEqual(fetch(client.url), b"ok")
        asyncio.run(stop())

    def test_several_at_once(self) -> None:
        """Each has a reactor and a thread of its own."""

        async def main() -> None:
            clients = [StubClient() for _ in range(4)]
            await asyncio.gather(*(client.start() for client in clients))
            with ThreadPoolExecutor(8) as pool:
                self.assertEqual(list(pool.map(fetch, [client.url for client in clients] * 5)), [b"ok"] * 20)
            self.assertEqual(len({client.stubs[0].thread for client in clients}), 4)
            await asyncio.gather(*(client.stop() for client in clients))

        asyncio.run(main())

    def test_never_the_global_reactor(self) -> None:
        """What runs there is not the process's reactor, and does not pass for its thread."""

        async def main() -> None:
            async with StubClient() as client:
                self.assertIsNot(client.stubs[0].reactor, sys.modules.get("twisted.internet.reactor"))
                self.assertIsNot(client.stubs[0].thread, threading.main_thread())

        asyncio.run(main())

    def test_port_taken(self) -> None:
        """An error of the start is raised in the caller, after the thread has ended."""

        async def main() -> None:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                client = StubClient(port=taken.getsockname()[1])
                with self.assertRaises(CannotListenError):
                    await client.start()
                self.assertEqual(set(threading.enumerate()) - self.threads, set())
            async with client:  # the port is free now
                fetch(client.url)

        asyncio.run(main())

    def test_bad_settings(self) -> None:
        """Settings that make no service are an error of the start, as it was raised."""

        def make(reactor: Any, port: int) -> Stub:
            raise ValueError("no key")

        async def main() -> None:
            with self.assertRaisesRegex(ValueError, "no key"):
                await StubClient(make=make).start()

        asyncio.run(main())

    def test_start_twice(self) -> None:
        """A second start is an error, and the first one goes on."""

        async def main() -> None:
            async with StubClient() as client:
                with self.assertRaises(RuntimeError):
                    await client.start()
                fetch(client.url)

        asyncio.run(main())

    def test_stop_is_idempotent(self) -> None:
        """Stopping what is not started, or twice, or from two tasks at once, is nothing."""

        async def main() -> None:
            client = StubClient()
            await client.stop()
            await client.start()
            await asyncio.gather(client.stop(), client.stop())
            await client.stop()

        asyncio.run(main())

    def test_stops(self) -> None:
        """Several stops at once all wait for the one."""

        async def stop(client: StubClient) -> int:
            await client.stop()
            return len(set(threading.enumerate()) - self.threads)

        async def main() -> None:
            client = StubClient()
            await client.start()
            client.stubs[0].drain_seconds = 0.1
            self.assertEqual(await asyncio.gather(stop(client), stop(client)), [0, 0])

        asyncio.run(main())

    def test_start_while_it_stops(self) -> None:
        """A client that is still stopping may be started again; the old run's end does not affect the new one."""

        async def main() -> None:
            client = StubClient()
            await client.start()
            client.stubs[0].drain_seconds = 0.1
            stopping = asyncio.ensure_future(client.stop())
            await asyncio.sleep(0)
            await client.start()
            await stopping
            self.assertEqual(fetch(client.url), b"ok")
            self.assertIsNot(client.stubs[0].reactor, client.stubs[1].reactor)
            await client.stop()

        asyncio.run(main())

    def test_stop_does_not_block(self) -> None:
        """While what is in flight ends, the program's loop goes on: it may be what has to end it."""

        async def main() -> None:
            may_end = threading.Event()

            async def tick() -> None:
                for _ in range(5):
                    await asyncio.sleep(0.01)
                may_end.set()

            async with StubClient() as client:
                client.stubs[0].may_end = may_end
                ticking = asyncio.create_task(tick())
            await ticking

        asyncio.run(asyncio.wait_for(main(), 20))

    def test_broken_stop(self) -> None:
        """A service that cannot stop does not keep its thread."""

        async def main() -> None:
            async with StubClient() as client:
                client.stubs[0].broken = True

        asyncio.run(main())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_slow_lookup(self) -> None:
        """A look-up in progress does not delay the stop, and its result is ignored."""
        looked_up = threading.Event()

        class Slow(Stub):
            def startService(self) -> None:
                super().startService()
                deferToThreadPool(self.reactor, self.reactor.getThreadPool(), looked_up.wait, 30)

        async def main() -> None:
            async with StubClient(make=Slow):
                await asyncio.sleep(0.01)
            (thread,) = set(threading.enumerate()) - self.threads
            looked_up.set()
            thread.join(30)

        asyncio.run(asyncio.wait_for(main(), 20))

    def test_many_times(self) -> None:
        """Starting and stopping leaves nothing that would grow."""

        async def main() -> None:
            client = StubClient()
            for _ in range(30):
                async with client:
                    pass

        asyncio.run(main())

    def test_cancelled_start(self) -> None:
        """A cancelled start leaves nothing running."""

        async def main() -> None:
            client = StubClient()
            starting = asyncio.ensure_future(client.start())
            await asyncio.sleep(0)
            starting.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await starting
            self.assertRaises(RuntimeError, lambda: client.url)
            for thread in set(threading.enumerate()) - self.threads:
                thread.join(30)

        asyncio.run(main())

    def test_cancelled_stop(self) -> None:
        """A cancelled wait for the stop does not cancel the stop."""

        async def main() -> None:
            client = StubClient()
            await client.start()
            may_end = client.stubs[0].may_end = threading.Event()
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(client.stop(), 0.01)
            may_end.set()
            for thread in set(threading.enumerate()) - self.threads:
                thread.join(30)

        asyncio.run(main())

    def test_run_forever(self) -> None:
        """It starts by itself, serves, and ends stopped when it is cancelled."""

        async def main() -> None:
            client = StubClient()
            running = asyncio.create_task(client.run_forever())
            while "not started" in repr(client):
                await asyncio.sleep(0.005)
            self.assertEqual(fetch(client.url), b"ok")
            running.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await running

        asyncio.run(main())

    def test_run_forever_until_stopped(self) -> None:
        """After a start it only waits, and a stop elsewhere ends it."""

        async def main() -> None:
            client = StubClient()
            await client.start()
            running = asyncio.create_task(client.run_forever())
            await asyncio.sleep(0)
            await client.stop()
            await running

        asyncio.run(main())


class SynchronousTests(Traceless):
    def test_with(self) -> None:
        """Code without any loop has a plain `with`, again and again."""
        client = StubClient()
        for _ in range(2):
            with client:
                self.assertEqual(fetch(client.url), b"ok")
        self.assertRaises(RuntimeError, lambda: client.url)

    def test_errors(self) -> None:
        """`with` raises an error of the start."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            with self.assertRaises(CannotListenError):
                with StubClient(port=taken.getsockname()[1]):
                    raise AssertionError("it has started")

    def test_nested(self) -> None:
        """Several at once, and one that is started already is an error."""
        with StubClient() as one, StubClient() as other:
            self.assertNotEqual(one.url, other.url)
            self.assertRaises(RuntimeError, one.__enter__)
            self.assertEqual(fetch(one.url) + fetch(other.url), b"okok")

    def test_stopped_within(self) -> None:
        """A client stopped within the `with` ends without an error."""
        with StubClient() as client:
            asyncio.run(client.stop())  # type: ignore[arg-type]

    def test_another_loop(self) -> None:
        """Under a loop that is not known here its coroutines block for the moment that they take."""
        client = StubClient()

        def drive(call: Callable[[], Any]) -> None:
            self.assertRaises(StopIteration, call().send, None)

        for call in (client.start, client.stop):
            thread = threading.Thread(target=drive, args=[call])  # the reactor of these tests is the main thread's
            thread.start()
            thread.join()
        self.assertEqual(len(client.stubs), 1)

    def test_no_keys_shown(self) -> None:
        """Its repr says which endpoint and where, and no key."""
        client = VastClient("demo", "s3cret-1", account_key="s3cret-2", token="s3cret-3", port=1)
        self.assertEqual(repr(client), "<VastClient 'demo' not started>")
        self.assertNotIn("s3cret", repr(client.settings))

    def test_open_to_others(self) -> None:
        """A client that other machines can reach requires a token."""
        for host in ("0.0.0.0", "::", "", "192.0.2.1", "box.example"):
            self.assertRaises(ValueError, VastClient, "demo", "key", host=host)
            self.assertEqual(VastClient("demo", "key", host=host, token="t").settings.host, host)
        for host in ("127.0.0.2", "::1", "localhost"):
            self.assertEqual(VastClient("demo", "key", host=host).settings.host, host)

    def test_settings(self) -> None:
        """All settings of the client proxy are accepted here; an unknown one is an error."""
        client = VastClient("demo", "key", default_cost=5.0, dialect="official", waiting_pings=True)
        self.assertEqual(
            (client.settings.default_cost, client.settings.dialect, client.settings.port), (5.0, "official", 0)
        )
        self.assertRaises(TypeError, VastClient, "demo", "key", colour="blue")

    def test_admin_port(self) -> None:
        """Within a program there is no admin port unless it is asked for; an open one needs a token."""
        self.assertEqual(VastClient("demo", "key").settings.admin_listen, "")
        chosen = "tcp:0:interface=127.0.0.1"
        self.assertEqual(VastClient("demo", "key", admin_listen=chosen).settings.admin_listen, chosen)
        VastClient("demo", "key", admin_listen="tcp:0", admin_token="t0ken")
        with self.assertRaisesRegex(ValueError, "admin_token"):
            VastClient("demo", "key", admin_listen="tcp:0")


class TwistedTests(TestCase):
    timeout = 60

    async def test_start_and_stop(self) -> None:
        """Under Twisted it runs on the reactor, and start and stop give Deferreds."""
        client = StubClient()
        started = client.start()
        self.assertIsInstance(started, Deferred)
        await started
        self.assertIs(client.stubs[0].reactor, reactor)
        self.assertEqual(await deferToThread(fetch, client.url), b"ok")
        stopped = client.stop()
        self.assertIsInstance(stopped, Deferred)
        await stopped
        self.assertRaises(RuntimeError, lambda: client.url)
        await client.stop()

    async def test_async_with(self) -> None:
        """`async with` does the same, again and again."""
        client = StubClient(reactor=reactor)
        for _ in range(2):
            async with client:
                self.assertEqual(await deferToThread(fetch, client.url), b"ok")

    async def test_errors(self) -> None:
        """An error of the start is the Deferred's failure, and leaves nothing started."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            client = StubClient(port=taken.getsockname()[1])
            with self.assertRaises(CannotListenError):
                await client.start()
        async with client:
            with self.assertRaises(RuntimeError):
                await client.start()

    async def test_no_plain_with(self) -> None:
        """A plain `with` would block the reactor: it is refused."""
        await deferLater(reactor, 0)
        self.assertRaises(RuntimeError, StubClient().__enter__)

    async def test_stops(self) -> None:
        """Several stops at once all wait for the one."""
        client = StubClient()
        await client.start()
        client.stubs[0].drain_seconds = 0.05
        stops = [client.stop() for _ in range(3)]
        for stopping in stops:
            await stopping

    async def test_broken_stop(self) -> None:
        """A service that cannot stop ends all the same, and the log says why."""
        client = StubClient()
        await client.start()
        client.stubs[0].broken = True
        await client.stop()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertRaises(RuntimeError, lambda: client.url)
        await client.stubs[0].port.stopListening()

    async def test_run_forever(self) -> None:
        """It serves until it is stopped, and until it is cancelled."""
        client = StubClient()
        running = ensureDeferred(client.run_forever())
        self.assertEqual(await deferToThread(fetch, client.url), b"ok")
        await client.stop()
        await running
        running = ensureDeferred(client.run_forever())
        running.cancel()
        await self.assertFailure(running, CancelledError)
        self.assertRaises(RuntimeError, lambda: client.url)

    async def test_before_the_reactor_runs(self) -> None:
        """One that is started just before the reactor runs is on that reactor: so does `react` call its main."""
        self.assertFalse(reactor.running)
        async with StubClient() as client:
            self.assertIs(client.stubs[0].reactor, reactor)
            self.assertEqual(await deferToThread(fetch, client.url), b"ok")

    async def test_in_another_thread(self) -> None:
        """A thread beside the reactor's has clients of its own."""

        def work() -> bytes:
            with StubClient() as client:
                assert client.stubs[0].reactor is not reactor
                return fetch(client.url)

        self.assertEqual(await deferToThread(work), b"ok")
        self.assertEqual(await deferToThread(lambda: asyncio.run(self.in_asyncio())), b"ok")

    async def in_asyncio(self) -> bytes:
        async with StubClient() as client:
            return await asyncio.to_thread(fetch, client.url)

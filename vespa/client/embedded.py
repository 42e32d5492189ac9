"""The client within a program: started and stopped by it, whatever event loop it has."""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.python import threadable

from vespa.client.reactor_thread import ReactorThread
from vespa.config.client import ClientSettings, Instance
from vespa.runtime.local_addresses import is_loopback
from vespa.transport.own_reactor import has_run

if TYPE_CHECKING:
    from typing_extensions import Self

    from vespa.client.service import ClientService

T = TypeVar("T")


class VastClient:
    """
    A local proxy to one endpoint, for as long as it is started: any SDK that is given `url` calls the endpoint.

        async with VastClient(endpoint_name="my-endpoint", api_key=key) as client:
            answer = OpenAI(base_url=f"{client.url}/v1", api_key="unused").chat.completions.create(...)

    Under asyncio, and with a plain `with` in synchronous code, the proxy runs in a thread of its own: blocking calls
    may be made through it from anywhere. Under Twisted it runs on the reactor, and `start` and `stop` give Deferreds.
    """

    def __init__(
        self,
        endpoint_name: str,
        api_key: str = "",
        *,
        account_key: str = "",
        port: int = 0,
        host: str = "127.0.0.1",
        instance: Instance = "prod",
        reactor: Any = None,
        on_wait: Callable[[str, float], None] | None = None,
        **settings: Any,
    ) -> None:
        """
        `api_key` is the endpoint's; with the `account_key` alone it is looked up. `port` 0 is any free one.

        `reactor` is the one to run on; None: the global one where it is this thread's, else one of the client's own.
        `on_wait` is called with the autoscaler's words and the seconds waited so far while requests wait for a worker,
        and with ("", 0.0) when none does any more; where the proxy has a thread of its own, in that. `settings` are
        further fields of `ClientSettings`. Raises ValueError for a `host` that others can reach without a `token`.
        """
        if not is_loopback(host) and not settings.get("token"):
            raise ValueError(f"whoever reaches {host or 'it'} could use the endpoint: give a token as well")
        self.settings = ClientSettings(
            endpoint=endpoint_name,
            endpoint_key=api_key,
            account_key=account_key,
            port=port,
            host=host,
            instance=instance,
            **settings,
        )
        self._on_wait = on_wait
        self._reactor = reactor
        self._thread: ReactorThread[ClientService] | None = None
        self._here: _Here | None = None
        self._url = ""

    def __repr__(self) -> str:
        return f"<VastClient {self.settings.endpoint!r} {self._url or 'not started'}>"

    @property
    def url(self) -> str:
        """Where the proxy listens, "http://127.0.0.1:8010". Raises RuntimeError unless it is started."""
        if not self._url:
            raise RuntimeError("the client is not started")
        return self._url

    def start(self) -> Awaitable[None]:
        """
        Listen; nothing is asked of the network yet. It may be started again after a stop.

        Fails with CannotListenError where the port is taken, with ValueError for settings that are none, and with
        RuntimeError if it is started already.
        """
        reactor = self._reactor or _reactor_here()
        if reactor is None:
            return self._start_aside()
        return Deferred.fromCoroutine(self._start_here(reactor))

    def stop(self) -> Awaitable[None]:
        """Let what is in flight end within `drain_timeout` seconds and cut the rest. Never fails, may be repeated."""
        here, thread = self._here, self._thread
        if here is not None:
            return here.stop()
        if thread is None and (self._reactor or _reactor_here()) is not None:
            return succeed(None)
        return self._stop_thread(thread)

    async def run_forever(self) -> None:
        """Serve until stopped or cancelled; starts it first if need be, and always ends stopped."""
        if self._here is None and self._thread is None:
            await self.start()
        try:
            if self._here is not None:
                await self._here.stopped()
            elif self._thread is not None:
                await _told(self._thread.ended)
        finally:
            await self.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def __enter__(self) -> Self:
        if self._reactor is not None or _reactor_here(running=True) is not None:
            raise RuntimeError("a reactor runs here, and must not be blocked: use `async with`")
        thread = self._new_thread()
        try:
            self._url = thread.start().result().url
        except BaseException:
            self._leave(thread).result()
            thread.join()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        thread = self._thread
        if thread is not None:
            self._leave(thread).result()
            thread.join()

    def make(self, reactor: Any) -> ClientService:
        """The service that is run, on this reactor. Raises ValueError for settings that are none."""
        from vespa.client.service import make_client  # only now: whoever reads options needs no proxy

        return make_client(reactor, self.settings, on_wait=self._on_wait)

    # -- in a thread of its own

    def _new_thread(self) -> ReactorThread[ClientService]:
        self._check_stopped()
        self._thread = ReactorThread(self.make, f"vespa client {self.settings.endpoint}")
        return self._thread

    async def _start_aside(self) -> None:
        thread = self._new_thread()
        try:
            self._url = (await _told(thread.start())).url
        except BaseException as error:  # a cancelled start too leaves nothing behind, if a little later
            self._leave(thread)
            if thread.started.done() and thread.started.exception() is error:
                thread.join()
            raise

    async def _stop_thread(self, thread: ReactorThread[ClientService] | None) -> None:
        if thread is not None:
            await _told(self._leave(thread))
            thread.join()

    def _leave(self, thread: ReactorThread[ClientService]) -> Future[None]:
        if self._thread is thread:
            self._thread, self._url = None, ""
        return thread.stop()

    # -- on a reactor that runs already

    async def _start_here(self, reactor: Any) -> None:
        self._check_stopped()
        service = self.make(reactor)
        try:
            service.startService()
        except BaseException:
            await _stop(service)
            raise
        self._here, self._url = _Here(reactor, service, self._left_here), service.url

    def _left_here(self) -> None:
        self._here, self._url = None, ""

    def _check_stopped(self) -> None:
        if self._thread is not None or self._here is not None:
            raise RuntimeError("the client is started already")


class _Here:
    """A service on the program's own reactor, stopped with it at the latest."""

    def __init__(self, reactor: Any, service: ClientService, left: Callable[[], None]) -> None:
        self._reactor = reactor
        self._service = service
        self._left = left
        self._waiting: list[Deferred[None]] = []
        self._stopping = False
        self._stopped = False
        self._trigger = reactor.addSystemEventTrigger("before", "shutdown", self.stop)

    def stop(self) -> Deferred[None]:
        """Fires when the service has stopped; does not fail."""
        told = self.stopped()
        if not self._stopping:
            self._stopping = True
            Deferred.fromCoroutine(_stop(self._service)).addBoth(self._end)
        return told

    def stopped(self) -> Deferred[None]:
        """Fires when the service has stopped, whoever stops it."""
        if self._stopped:
            return succeed(None)
        told: Deferred[None] = Deferred(self._forget)
        self._waiting.append(told)
        return told

    def _forget(self, told: Deferred[None]) -> None:
        self._waiting.remove(told)

    def _end(self, _: object) -> None:
        self._stopped = True
        try:
            self._reactor.removeSystemEventTrigger(self._trigger)
        except (KeyError, TypeError, ValueError):
            pass  # it is what stopped us
        self._left()
        waiting, self._waiting = self._waiting, []
        for told in waiting:
            told.callback(None)


async def _stop(service: ClientService) -> None:
    stopping = service.stopService()
    if stopping is not None:
        await stopping


def _reactor_here(*, running: bool = False) -> Any:
    """
    The global reactor, if it is this thread's and asyncio has not the turn; it is never imported for this.

    Unless it has to be `running`, one that is about to will do: `task.react` runs it after its first call.
    """
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if reactor is None or _in_asyncio():
        return None
    if reactor.running:
        return reactor if threadable.isInIOThread() else None
    if running or threading.current_thread() is not threading.main_thread():
        return None
    return None if has_run(reactor) else reactor


def _in_asyncio() -> bool:
    """Whether a task of asyncio's has the turn; one of Twisted's on asyncio's loop has no task."""
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        return asyncio.current_task() is not None
    except RuntimeError:  # no loop runs here
        return False


async def _told(future: Future[T]) -> T:
    """What a thread's future comes to: awaited under asyncio; under a loop that is not known here, waited for."""
    if not _in_asyncio():
        return future.result()
    import asyncio

    return await asyncio.wrap_future(future)

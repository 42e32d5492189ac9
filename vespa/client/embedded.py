"""The client within a program, which starts and stops it, whatever event loop the program has."""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python import threadable

from vespa.client.embedded_session import VastSession
from vespa.client.event_loops import in_asyncio
from vespa.client.policy import DEFAULT_COST
from vespa.client.reactor_thread import ReactorThread, ServiceRun
from vespa.config.admin import needs_token
from vespa.config.client import ClientSettings, Instance
from vespa.runtime.local_addresses import is_loopback
from vespa.transport.own_reactor import has_run

if TYPE_CHECKING:
    from typing_extensions import Self

    from vespa.client.service import ClientService

T = TypeVar("T")


class VastClient:
    """
    A local proxy to one endpoint. While it is started, any SDK that uses its `url` calls the endpoint.

        async with VastClient(endpoint_name="my-endpoint", api_key=key) as client:
            answer = OpenAI(base_url=f"{client.url}/v1", api_key="unused").chat.completions.create(...)

    Under asyncio, and with a plain `with` in synchronous code, the proxy runs in a thread of its own, so the program
    may make blocking calls through it. Under Twisted it runs on the reactor, and `start` and `stop` return Deferreds.
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
        `api_key` is the endpoint's. With the `account_key` alone the key is looked up. `port` 0 is any free one.

        `reactor` is the reactor to run on; None: the global one if it belongs to this thread, otherwise one of the
        client's own. While requests wait for a worker, `on_wait` is called with the autoscaler's message and the
        seconds waited so far, and with ("", 0.0) when none waits any more. If the proxy has a thread of its own, it
        calls `on_wait` there. `settings` are further fields of `ClientSettings`. Raises ValueError for a `host` that
        other machines can reach without a `token`. The admin port is off, unless `settings` have its `admin_listen`.
        """
        if not is_loopback(host) and not settings.get("token"):
            raise ValueError(f"anyone who can reach {host or 'it'} could use the endpoint: set a token as well")
        settings.setdefault("admin_listen", "off")
        self.settings = ClientSettings(
            endpoint=endpoint_name,
            endpoint_key=api_key,
            account_key=account_key,
            port=port,
            host=host,
            instance=instance,
            **settings,
        )
        if needs_token(self.settings.admin_listen) and not self.settings.admin_token:
            raise ValueError(f"other machines could read {self.settings.admin_listen}: set an admin_token as well")
        self._on_wait = on_wait
        self._reactor = reactor
        self._run: ServiceRun[ClientService] | None = None
        self._url = ""

    def __repr__(self) -> str:
        return f"<VastClient {self.settings.endpoint!r} {self._url or 'not started'}>"

    @property
    def url(self) -> str:
        """The URL of the proxy, such as "http://127.0.0.1:8010". Raises RuntimeError unless it is started."""
        if not self._url:
            raise RuntimeError("the client is not started")
        return self._url

    def start(self) -> Awaitable[None]:
        """
        Start listening, without any request to the network. It may be started again after a stop.

        Fails with CannotListenError if the port is taken, with ValueError for wrong settings, and with
        RuntimeError if it is already started.
        """
        reactor = self._reactor or _reactor_here()
        starting = self._start(reactor)
        return starting if reactor is None else Deferred.fromCoroutine(starting)

    def stop(self) -> Awaitable[None]:
        """Let requests in flight end within `drain_timeout` seconds, abort the rest. Never fails, may be repeated."""
        run = self._run
        stopping = self._stop(run)
        is_aside = isinstance(run, ReactorThread) or (run is None and (self._reactor or _reactor_here()) is None)
        return stopping if is_aside else Deferred.fromCoroutine(stopping)

    async def run_forever(self) -> None:
        """Serve until stopped or cancelled. Starts the proxy first if necessary, and always stops it."""
        if self._run is None:
            await self.start()
        run = self._run
        try:
            if run is not None:
                await run.outcome(run.ended)
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
            raise RuntimeError("a reactor runs in this thread and must not be blocked: use `async with`")
        run = self._new_run(None)
        try:
            self._url = run.start().result().url
        except BaseException:
            run.stop().result()
            run.join()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        run = self._run
        if run is not None:
            run.stop().result()
            run.join()

    def session(
        self,
        *,
        cost: float | None = None,
        lifetime: float | None = None,
        on_close_route: str = "",
        on_close_payload: Any = None,
    ) -> VastSession:
        """
        A session: all requests with its `headers` go to the same worker, until its `with` ends it.

            async with client.session(lifetime=300) as session:
                OpenAI(base_url=f"{session.url}/v1", default_headers=session.headers, api_key="unused")

        `cost` is in Vast's units and counts for as long as the session lasts; None: `default_cost`. Without requests
        for `lifetime` seconds the worker ends it; None: `session_lifetime`. At its end the worker sends
        `on_close_payload` to the path `on_close_route` of its backend. Entering it raises SessionError if no worker
        opens it, and RuntimeError if the client is not started.
        """
        run, settings = self._run, self.settings
        if run is None or not self._url:
            raise RuntimeError("the client is not started")
        default = DEFAULT_COST if settings.default_cost is None else settings.default_cost
        return VastSession(
            run,
            self._url,
            cost=default if cost is None else cost,
            lifetime=settings.session_lifetime if lifetime is None else lifetime,
            on_close_route=on_close_route,
            on_close_payload=on_close_payload,
            blocks=self._reactor is None and _reactor_here(running=True) is None,
        )

    def make(self, reactor: Any) -> ClientService:
        """The service to run on this reactor. Raises ValueError for wrong settings."""
        from vespa.client.service import make_client  # only here, because reading options needs no proxy

        return make_client(reactor, self.settings, on_wait=self._on_wait)

    def _new_run(self, reactor: Any) -> ServiceRun[ClientService]:
        if self._run is not None and not self._run.stopping:
            raise RuntimeError("the client is already started")
        run: ServiceRun[ClientService]
        if reactor is None:
            run = ReactorThread(self.make, f"vespa client {self.settings.endpoint}")
        else:
            run = ServiceRun(self.make, reactor)
        self._run = run
        run.ended.add_done_callback(lambda _: self._left(run))
        return run

    def _left(self, run: ServiceRun[ClientService]) -> None:
        if self._run is run:
            self._run, self._url = None, ""

    async def _start(self, reactor: Any) -> None:
        run = self._new_run(reactor)
        try:
            self._url = (await run.outcome(run.start())).url
        except BaseException as error:  # a cancelled start also leaves nothing behind, a little later
            run.stop()
            if run.started.done() and run.started.exception() is error:
                run.join()
            raise

    async def _stop(self, run: ServiceRun[ClientService] | None) -> None:
        if run is not None:
            self._url = ""
            await run.outcome(run.stop())
            run.join()


def _reactor_here(*, running: bool = False) -> Any:
    """
    The global reactor, if it belongs to this thread and no asyncio task runs. It is never imported for this.

    Unless it must be `running`, a reactor that is about to run counts too: `task.react` runs it after its first call.
    """
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if reactor is None or in_asyncio():
        return None
    if reactor.running:
        return reactor if threadable.isInIOThread() else None
    if running or threading.current_thread() is not threading.main_thread():
        return None
    return None if has_run(reactor) else reactor

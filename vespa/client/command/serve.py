"""One run of the client, for `vespa-proxy client` and for `twistd vespa-client`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred

from vespa.client.command.launch import LaunchError, MakeClient, OnWait, console_of, http_of, launch
from vespa.client.console import ConsoleError
from vespa.client.endpoint_workers import EndpointWorkers
from vespa.config.client import ClientSettings
from vespa.config.client_reading import ClientReading
from vespa.runtime import process
from vespa.runtime.service_manager import ServiceState, service_manager

if TYPE_CHECKING:
    from vespa.client.command.questions import Asks

INTERRUPTED: Final = 130


@define(eq=False, slots=False)
class Command(process.Main):
    """
    One run of the client: it finds the endpoint's key if need be, and serves until it is stopped.

    `say` prints a message, and `complain` an error. `asks` is None if there is nobody to ask. `friendly`: also print
    how to call the proxy. `environ` names the service manager that started this process, if any.
    """

    _reactor: Any
    _reading: ClientReading
    _say: Callable[[Any], object]
    _complain: Callable[[str], object]
    _on_wait: OnWait
    _hide: Callable[[str], None]
    _asks: Asks | None = None
    _friendly: bool = False
    _make: MakeClient | None = None
    ended: Callable[[int], object] | None = None
    _environ: Mapping[str, str] = field(factory=dict)
    _is_ready = False
    _state = ServiceState(False, "the endpoint's key is looked up")

    def __attrs_post_init__(self) -> None:
        super().__init__(self._reactor, self.ended)

    async def main(self) -> int:
        """List the endpoints, or serve until cancelled. Returns the exit code."""
        try:
            await (self._list() if self._reading.listing else self._serve())
            return 0
        except CancelledError:
            return 0 if self._is_ready or self._asks is None else INTERRUPTED
        except EOFError:
            self._complain("nothing was chosen")
        except (LaunchError, ConsoleError) as error:
            self._complain(str(error))
        return 1

    async def _list(self) -> None:
        from vespa.client.command.choosing import endpoints_of, table  # needs rich, which twistd does not

        settings = self._reading.settings
        with console_of(self._reactor, settings) as console:
            key, rows = await endpoints_of(console, settings.account_key, self._asks)
        self._say(table(rows) if rows else "the account has no endpoints")
        if self._reading.lists_workers:
            from vespa.client.command.worker_table import say_workers

            with http_of(self._reactor) as http:
                await say_workers(EndpointWorkers(settings.autoscaler, http), key, rows, self._say)

    async def _serve(self) -> None:
        settings = self._reading.settings
        if not (settings.endpoint or settings.debug_worker_url) and self._asks is not None:
            from vespa.client.command.choosing import choose

            with console_of(self._reactor, settings) as console:
                settings = await choose(settings, console, self._asks, port_given=self._reading.port_given)
        manager = service_manager(self._environ, self._reactor, lambda: self._state)
        if manager is None:
            await self._run(settings)
            return
        manager.startService()
        try:
            await self._run(settings, at_stop=manager.stopping)
        finally:
            await manager.stopService()

    async def _run(self, settings: ClientSettings, at_stop: Callable[[], object] = lambda: None) -> None:
        client, settings = await launch(
            self._reactor, settings, on_wait=self._on_wait, hide=self._hide, make=self._make
        )
        try:
            self._is_ready = True
            ready = f"ready: {client.url} → {_destination(settings)}"
            self._state = ServiceState(True, ready)
            self._say(ready)
            if self._friendly:
                self._say(how_to_use(client.url, settings, client.status_page))
            process.settle_memory()
            await Deferred()
        finally:
            at_stop()
            await client.stopService()
            self._on_wait("", 0.0)


def _destination(settings: ClientSettings) -> str:
    if settings.debug_worker_url:
        return f"worker {settings.debug_worker_url} (VAST_DEBUG_WORKER_URL), without signatures"
    return f"endpoint {settings.endpoint}"


def how_to_use(url: str, settings: ClientSettings, status_page: str = "") -> str:
    """What to type where, for people."""
    base = url.replace("//127.0.0.1:", "//localhost:")
    key, header = '"unused"', ""
    if settings.token:
        key, header = 'os.environ["VESPA_CLIENT_TOKEN"]', ' -H "Authorization: Bearer $VESPA_CLIENT_TOKEN"'
    watch = f"Watch it at {status_page.replace('//127.0.0.1:', '//localhost:')}. " if status_page else ""
    return (
        f'\n  OpenAI(base_url="{base}/v1", api_key={key})\n  curl {base}/v1/models{header}\n\n'
        f"Any other HTTP client will do as well. {watch}Ctrl-C ends it.\n"
    )

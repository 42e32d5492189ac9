"""Examines a client: its settings, where its key comes from, the console, the autoscaler and the port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

from vespa.checking.autoscaler import AutoscalerCheck
from vespa.checking.certificate import check_admin_certificate
from vespa.checking.finding import Finding, Findings, failed, ok, skipped, warning
from vespa.client.console import Console, ConsoleError
from vespa.client.trust import TrustError, WorkerTrust
from vespa.config import client_reading
from vespa.config.client import ClientSettings
from vespa.config.client_reading import ClientReading
from vespa.config.reader import Given, SettingsError
from vespa.http.agent import Agent
from vespa.proxy.listener import cannot_listen
from vespa.runtime.http_client import BoundedClient
from vespa.transport.listen import listen_tcp

SECONDS = 10.0  # the time limit for each request


@frozen(kw_only=True)
class ClientCheck:
    """What is to be examined: the client that `vespa-proxy client` would start in `environ`."""

    reactor: Any
    environ: Mapping[str, str]

    def read(self) -> ClientReading | SettingsError:
        """The settings, or what is wrong with them."""
        try:
            return client_reading.read(Given(), self.environ)
        except SettingsError as error:
            return error

    async def run(self) -> Findings:
        """All findings."""
        reading = self.read()
        correct = "correct it; docs/settings.md lists all settings"
        if isinstance(reading, SettingsError):
            found = [failed("settings", each, correct) for each in reading.problems]
            later = "first correct the settings above"
            return Findings("client", [*found, skipped("endpoint", "not examined, because settings are wrong", later)])
        settings = reading.settings
        agent = Agent(self.reactor, connect_timeout=SECONDS, persistent=False, name="server")
        http = BoundedClient(agent, self.reactor)
        address = [settings.autoscaler]
        without = "without the autoscaler the client finds no worker, and requests wait until VESPA_TIMEOUT"
        autoscaler = AutoscalerCheck(http, address, setting="VAST_AUTOSCALER_URL", without=without, timeout=SECONDS)
        debugged = settings.debug_worker_url
        whereto = f"worker {debugged}" if debugged else f"endpoint {settings.endpoint}"
        return Findings(
            "client",
            [
                ok("settings", f"{whereto}, without mistakes"),
                *(warning("settings", each, "change it, if it is not what you want") for each in reading.warnings),
                self._key(reading),
                await self._endpoint(settings, http),
                *([_no_need("autoscaler")] if debugged else (await autoscaler.run())[0]),
                await self._roots(settings, http),
                await self._port(settings),
                *check_admin_certificate(settings.admin_listen, self.reactor.seconds(), "--admin-listen"),
            ],
        )

    def _key(self, reading: ClientReading) -> Finding:
        if reading.settings.debug_worker_url:
            return _no_need("key")
        kind = "endpoint" if reading.settings.endpoint_key else "account"
        return ok("key", f"the {kind}'s key is in {reading.key_source}", source=reading.key_source, kind=kind)

    async def _endpoint(self, settings: ClientSettings, http: BoundedClient) -> Finding:
        if settings.debug_worker_url:
            return _no_need("console")
        if settings.endpoint_key:
            return ok("console", "not needed, because the endpoint's own key is set")
        console = Console(settings.console_url, http, instance=settings.instance, timeout=SECONDS)
        try:
            found = await console.endpoint(settings.account_key, settings.endpoint)
        except ConsoleError as error:
            advice = (
                "check VAST_ENDPOINT and the account's key" if error.final else "check VAST_CONSOLE_URL, or try again"
            )
            return failed("console", str(error), advice)
        state = f", {found.state}" if found.state else ""
        why = f"{settings.console_url} knows the endpoint {found.name} (id {found.id}{state}) and gives its key"
        return ok("console", why, endpoint=found.name, id=found.id, state=found.state)

    async def _roots(self, settings: ClientSettings, http: BoundedClient) -> Finding:
        try:
            await WorkerTrust(ca_file=settings.worker_ca, console_url=settings.console_url, http=http).roots()
        except TrustError as error:
            why = f"{error}; workers with TLS cannot be verified without it"
            return warning("workers' root", why, "check VAST_CONSOLE_URL, or give a root with --worker-ca")
        except (OSError, ValueError) as error:
            advice = "correct --worker-ca, or unset it for Vast.ai's own root"
            return failed("workers' root", str(error) or type(error).__name__, advice)
        return ok("workers' root", settings.worker_ca or "the root certificate that verifies workers can be used")

    async def _port(self, settings: ClientSettings) -> Finding:
        where = f"{settings.host} port {settings.port}"
        if not settings.port:
            return ok("port", "any free one")
        try:
            port = listen_tcp(self.reactor, settings.port, Factory(), settings.host)
        except CannotListenError as error:
            sentence, _, advice = cannot_listen(where, error, "VESPA_CLIENT_PORT").partition("; ")
            said = f"{sentence} (another client, if one runs already)"
            return warning("port", said, advice or "choose another with VESPA_CLIENT_PORT")
        await maybeDeferred(port.stopListening)
        return ok("port", f"{where} can be opened")


def _no_need(what: str) -> Finding:
    return ok(what, "not needed, because VAST_DEBUG_WORKER_URL names a worker")

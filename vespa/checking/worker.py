"""Examines a worker: reads its settings as the worker does, and runs every check of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen
from cryptography import x509

from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.key import cache_key
from vespa.benchmarking.runner import Runner
from vespa.checking.autoscaler import AutoscalerCheck, FetchedKey
from vespa.checking.backend import BackendCheck, endpoint_of
from vespa.checking.benchmark import check_benchmark, check_cache
from vespa.checking.certificate import check_admin_certificate, check_certificate
from vespa.checking.engine import check_engine
from vespa.checking.finding import Finding, Findings, failed, ok, skipped, warning
from vespa.checking.port import PortCheck, local_place
from vespa.checking.report import check_report
from vespa.checking.route import check_route
from vespa.checking.running import RunningCheck, admin_client
from vespa.checking.together import together
from vespa.client.trust import WorkerTrust, vast_root
from vespa.config.client import ClientSettings
from vespa.config.reader import Given, Reading
from vespa.config.schema import rows
from vespa.config.worker import WorkerSettings
from vespa.config.worker_reading import WorkerReading
from vespa.http.agent import Agent
from vespa.protocol.urls import BaseURL
from vespa.runtime.http_client import BoundedClient
from vespa.runtime.local_addresses import is_loopback
from vespa.transport.origin import Origin
from vespa.vast.addresses import CONSOLE
from vespa.worker.access import backend_access
from vespa.worker.backends.backends import names_of
from vespa.worker.obstacles import file_problem

Autoscaler = tuple[list[Finding], list[FetchedKey]]


@frozen(kw_only=True)
class WorkerCheck:
    """
    What is to be examined. `reading` is made from `environ`, and `route` is a pasted response of `/route/`, or None.

    `token` is a text that nobody can guess, and `disk_usage` returns GB. `notes` are findings to show first.
    """

    reactor: Any
    environ: Mapping[str, str]
    reading: WorkerReading
    token: str
    disk_usage: Callable[[], float]
    route: bytes | None = None
    notes: Sequence[Finding] = ()

    async def run(self) -> Findings:
        """All findings. Independent checks run at the same time."""
        settings = self.reading.settings
        found, (autoscaler, keys) = await self._all(settings)
        kept, throughput = self._result(settings)
        backend, benchmark, port = found
        problem = str(self.reading.error or "") or file_problem(self.reactor, settings) or _failure(port)
        running = await self._running(settings) if any(each.details.get("running") for each in port) else []
        report, body = check_report(settings, problem=problem, throughput=throughput, disk_usage=self._disk())
        findings = [
            *self.notes,
            *settings_findings(self.reading, self.environ),
            *self._certificate(settings),
            *port,
            *running,
            *backend,
            *benchmark,
            *kept,
            *check_engine(settings),
            *autoscaler,
            *(() if self.route is None else check_route(self.route, keys, settings)),
            *report,
        ]
        return Findings("worker", findings, body)

    async def _all(self, settings: WorkerSettings) -> tuple[list[list[Finding]], Autoscaler]:
        """The findings of backend, benchmark and port, and those of the autoscaler with its keys."""
        runner = Runner(self.reactor, self.reactor, self.environ)
        port = PortCheck(self.reactor, settings, token=self.token, roots=self._roots)
        checks: list[Awaitable[list[Finding]]] = [
            self._backend(settings),
            check_benchmark(runner, self.reactor, settings),
            port.run(),
        ]
        asked: list[Awaitable[Any]] = [together(checks), self._autoscaler(settings)]
        found, autoscaler = await together(asked)
        return found, autoscaler

    async def _backend(self, settings: WorkerSettings) -> list[Finding]:
        if settings.backend_url is None:
            why = "not examined, because VESPA_BACKEND_URL is missing or wrong"
            return [skipped("backend", why, "set VESPA_BACKEND_URL to the URL of your inference server")]
        if len(settings.backend_urls) == 1:
            return await self._one_backend(settings, settings.backend_url)
        names = names_of([Origin.parse(backend.url) for backend in settings.backend_urls])
        each: list[Awaitable[list[Finding]]] = [self._one_backend(settings, url) for url in settings.backend_urls]
        return [
            evolve(finding, what=f"{finding.what} {name}")
            for name, findings in zip(names, await together(each), strict=True)
            for finding in findings
        ]

    async def _one_backend(self, settings: WorkerSettings, url: BaseURL) -> list[Finding]:
        if is_own(settings, url):
            why = f"VESPA_BACKEND_URL={url.url} is the worker's own port: requests would go in a circle"
            advice = "set it to the port of your inference server, or VESPA_WORKER_PORT to another one"
            return [failed("backend", why, advice)]
        try:
            backend = backend_access(self.reactor, settings, self.environ, url)
        except (OSError, ValueError) as error:
            why = f"VESPA_BACKEND_CA_FILE={settings.backend_ca_file!r}: {error or type(error).__name__}"
            return [failed("backend", why, "name a PEM file with the roots of the backend's certificate")]
        model = self.environ.get("MODEL_NAME", "").strip()
        endpoint = endpoint_of(self.reactor, settings, backend)
        return await BackendCheck(self.reactor, settings, backend, endpoint, model=model).run()

    async def _autoscaler(self, settings: WorkerSettings) -> Autoscaler:
        if settings.unsecured and settings.identity is None and self.route is None:
            return [
                ok("autoscaler", "not needed: an unsecured worker without CONTAINER_ID verifies and reports nothing")
            ], []
        agent = Agent(self.reactor, connect_timeout=settings.pubkey_timeout, persistent=False, name="autoscaler")
        http = BoundedClient(agent, self.reactor)
        timeout = settings.pubkey_timeout
        without = "without the key the worker refuses all requests (503 no_key), and nobody gets its reports"
        addresses = settings.report_addr
        check = AutoscalerCheck(http, addresses, setting="REPORT_ADDR", without=without, timeout=timeout)
        return await check.run()

    async def _running(self, settings: WorkerSettings) -> list[Finding]:
        return await RunningCheck(lambda place: admin_client(self.reactor, place), settings).run()

    def _result(self, settings: WorkerSettings) -> tuple[list[Finding], float]:
        if not settings.benchmark or settings.backend_url is None:
            return [], 0.0
        urls = [backend.url for backend in settings.backend_urls]
        names = names_of([Origin.parse(url) for url in urls])
        found, total = [], 0.0
        for url, name in zip(urls, names, strict=True):
            key = cache_key(settings.benchmark, url, self.environ)
            findings, throughput = check_cache(BenchmarkCache(settings.benchmark_cache_file, key, urls))
            found += [evolve(each, what=f"{each.what} {name}") for each in findings] if len(urls) > 1 else findings
            total += throughput
        return found, total

    def _console(self) -> str:
        """The console of the endpoint's account, which only a simulated endpoint sets."""
        console: str = Reading(ClientSettings, self.environ, Given()).values["console_url"]
        return console

    def _certificate(self, settings: WorkerSettings) -> list[Finding]:
        root: x509.Certificate | None = vast_root() if self._console() == CONSOLE else None
        now = self.reactor.seconds()
        admin = check_admin_certificate(settings.admin_listen, now, "VESPA_ADMIN_LISTEN")
        return [*check_certificate(settings, now, root), *admin]

    async def _roots(self) -> object:
        agent = Agent(self.reactor, persistent=False, name="console")
        http = BoundedClient(agent, self.reactor)
        return await WorkerTrust(ca_file="", console_url=self._console(), http=http).roots()

    def _disk(self) -> float:
        try:
            return self.disk_usage()
        except OSError:
            return 0.0


def _failure(findings: Sequence[Finding]) -> str:
    return next((f"{each.why}; {each.advice}" for each in findings if each.state == "failed"), "")


def is_own(settings: WorkerSettings, backend: BaseURL | None) -> bool:
    """Whether this backend's address is that of the worker's own port."""
    place = local_place(settings)
    if backend is None or place is None or backend.socket or backend.port != place.port:
        return False
    return backend.host == settings.public_ipaddr or is_loopback(backend.host)


def settings_findings(reading: WorkerReading, environ: Mapping[str, str]) -> list[Finding]:
    """A line for each mistake and each warning, and one for the whole if there is no mistake."""
    correct = "correct it; docs/settings.md lists all settings"
    problems = reading.error.problems if reading.error is not None else ()
    found = [failed("settings", each, correct) for each in problems]
    if not problems:
        count = len({name for row in rows(WorkerSettings) for name in (row.name, row.fallback) if environ.get(name)})
        found = [ok("settings", f"{count} {'variable is' if count == 1 else 'variables are'} set, without mistakes")]
    advice = "correct the variable, or unset it"
    return [*found, *(warning("settings", each, advice) for each in reading.warnings)]

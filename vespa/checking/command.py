"""`vespa-proxy check`: reads the options and the environment, examines, and shows what was found."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TextIO

from twisted.internet.defer import CancelledError

from vespa import __version__
from vespa.checking.client import ClientCheck
from vespa.checking.finding import Finding, Findings, as_json, exit_code, ok, summary, warning
from vespa.checking.live import live_terminal
from vespa.checking.output import show
from vespa.checking.worker import WorkerCheck
from vespa.config.check import CheckSettings, parts, read
from vespa.config.client_reading import ClientReading
from vespa.config.commands import CHECK
from vespa.config.reader import SettingsError
from vespa.config.worker_reading import read as read_worker
from vespa.runtime import process
from vespa.runtime.secret import hidden
from vespa.runtime.standard_streams import OutputError, put, writable
from vespa.vast.auth import MAX_AUTH_DATA
from vespa.worker.launch import production_defaults
from vespa.worker.reporter import used_gigabytes

WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130
_CERTIFICATE: Final = "/etc/instance.crt"
_WAITING: Final = "examining; this takes up to half a minute if something does not answer"


class Command(process.Main):
    """
    One run of the check. `out` gets the result, `complain` an error.

    `wait` shows a line while it runs, and removes it with "".
    """

    def __init__(
        self,
        reactor: Any,
        settings: CheckSettings,
        environ: Mapping[str, str],
        route: bytes | None,
        out: TextIO,
        complain: Callable[[str], object],
        wait: Callable[[str], object],
    ) -> None:
        super().__init__(reactor)
        self._reactor = reactor
        self._settings = settings
        self._environ = environ
        self._route = route
        self._out = out
        self._complain = complain
        self._wait = wait

    async def main(self) -> int:
        """Examine, show, and return the exit code."""
        worker, client = parts(self._settings, self._environ)
        found: list[Findings] = []
        secret: list[str] = []
        self._wait(_WAITING)
        try:
            if worker:
                found.append(await self._worker(secret))
            if client:
                found.append(await self._client(secret))
        except CancelledError:
            return INTERRUPTED
        finally:
            self._wait("")
        code = exit_code(found, strict=self._settings.strict)
        try:
            self._show([_masked(each, secret) for each in found], code)
        except OutputError as error:
            self._complain(str(error))
            return code or 1
        return code

    async def _worker(self, secret: list[str]) -> Findings:
        environ, notes = as_started(self._environ, production=self._settings.production)
        reading = read_worker(environ)
        secret += reading.secrets
        check = WorkerCheck(
            reactor=self._reactor,
            environ=environ,
            reading=reading,
            token=secrets.token_urlsafe(24),
            disk_usage=used_gigabytes,
            route=self._route,
            notes=notes,
        )
        return await check.run()

    async def _client(self, secret: list[str]) -> Findings:
        check = ClientCheck(reactor=self._reactor, environ=self._environ)
        reading = check.read()
        if isinstance(reading, ClientReading):
            secret += reading.secrets
        return await check.run()

    def _show(self, found: Sequence[Findings], code: int) -> None:
        if self._settings.json:
            put(self._out, json.dumps(as_json(found, version=__version__, code=code), indent=1) + "\n")
        else:
            show(found, summary(found), self._out, self._environ)


def as_started(environ: Mapping[str, str], *, production: bool) -> tuple[dict[str, str], list[Finding]]:
    """The environment of a worker as it is started, and a note if `start_server.sh` would set something else."""
    own, theirs = dict(environ), dict(environ)
    production_defaults(theirs)
    if own == theirs:
        return own, []
    if production:
        return theirs, [ok("start", "by start_server.sh or python3 -m worker, which set VESPA_USE_SSL=true")]
    if not os.path.exists(environ.get("VESPA_SSL_CERT_FILE", "").strip() or _CERTIFICATE):
        return own, []
    why = (
        "start_server.sh and python3 -m worker would also set VESPA_USE_SSL=true; vespa-proxy worker and twistd do not"
    )
    return own, [warning("start", why, "add --production if the worker is started by one of the former")]


def _masked(found: Findings, secret: Sequence[str]) -> Findings:
    """The findings without secrets, which a server may have repeated in a response."""
    if not secret:
        return found
    findings = [
        Finding(
            each.state,
            hidden(each.what, secret),
            hidden(each.why, secret),
            hidden(each.advice, secret),
            json.loads(hidden(json.dumps(dict(each.details)), secret)),
        )
        for each in found.found
    ]
    report = None if found.report is None else json.loads(hidden(json.dumps(dict(found.report)), secret))
    return Findings(found.part, findings, report)


def _route(settings: CheckSettings) -> bytes | None:
    """The pasted response; None without one. Raises SettingsError."""
    if not settings.route:
        return None
    try:
        if settings.route == "-":
            return sys.stdin.buffer.read(4 * MAX_AUTH_DATA)
        with open(settings.route, "rb") as file:
            return file.read(4 * MAX_AUTH_DATA)
    except OSError as error:
        raise SettingsError([f"--route={settings.route!r}: {error.strerror or error}"]) from None


def main(argv: Sequence[str]) -> int:
    """Run the command in this process's reactor. Returns the exit code; raises SystemExit for --help and --version."""
    out, errors = writable(sys.stdout), writable(sys.stderr)
    environ = dict(os.environ)

    def complain(why: str) -> None:
        print(f"vespa-proxy check: {why}", file=errors)

    try:
        settings = read(CHECK.parse(argv))
        route = _route(settings)
    except SettingsError as error:
        complain(str(error))
        return WRONG_USAGE
    worker = read_worker(environ)
    reactor = process.install_reactor(worker.settings.transport)
    process.begin_log(errors, "critical", worker.secrets)
    terminal = live_terminal(errors, environ)
    wait = (lambda line: None) if terminal is None else terminal.live
    return process.run(reactor, Command(reactor, settings, environ, route, out, complain, wait))

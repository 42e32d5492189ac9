"""The plugin of `twistd vespa`, and the application of vespa.tac."""

from __future__ import annotations

import sys
from typing import cast

from twisted.application.service import Application, IService, MultiService
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from .config.command_line import TwistdOptions
from .config.commands import TWISTD_WORKER
from .config.worker import WorkerSettings
from .config.worker_reading import read
from .runtime import process
from .runtime.service_manager import ServiceState, service_manager
from .runtime.signals import Stoppable, exit_with, fail
from .runtime.start_line import program, switches

log = Logger()


class Options(TwistdOptions):
    """It has no options, because all settings come from the environment."""

    line = TWISTD_WORKER

    def postOptions(self) -> None:
        """Read the settings and install the reactor. Raises SystemExit with what is wrong with them.

        Not UsageError: twistd would print all of its own options above the text, and none of them is wrong.
        """
        self.reading = reading = read(self.environ)
        if self.given.problems:
            raise SystemExit("error: " + "; ".join(self.given.problems))
        if reading.error is not None and not reading.can_report:
            raise SystemExit(f"error: {reading.error}")
        settings = reading.settings
        process.prepare(
            self.parent,
            settings.transport,
            settings.log_level,
            reading.secrets,
            log_format=settings.log_format,
            for_people=settings.container_id is not None,  # Vast.ai's console shows the log as it is
        )


class Root(MultiService):
    """The top of the tree. If the port cannot be opened, the log gives the reason and the process exits with code 1.

    The services that started before the port stop in order, and the reporter's last report has the reason.
    """

    settings: WorkerSettings | None = None

    def startService(self) -> None:
        from twisted.internet import reactor

        from .worker.obstacles import listen_problem

        try:
            super().startService()  # type: ignore[no-untyped-call]
        except (CannotListenError, OSError, OverflowError) as error:  # the last for a port above 65535
            if self.settings is None:
                raise
            log.critical("{why}", why=listen_problem(self.settings, error))
            fail(cast(Stoppable, reactor))


def start_line(settings: WorkerSettings, reactor: object) -> str:
    """The log line for a start: versions, backend, the clients' URL, and what is on."""
    public = f", clients reach it at {settings.public_url}" if settings.public_url else ""
    signed = "requests must be signed" if settings.secured else "unsecured: requests need no signature"
    several = len(settings.backend_urls) > 1
    backends = f"backend{'s' if several else ''} {settings.backend_names}"
    parts = {
        **({"affinity": str(settings.affinity or "")} if several else {}),
        "signatures": settings.signature if settings.secured else "",
        "benchmark": settings.benchmark,
        "jobs": settings.jobs,
        "abort": settings.abort,
        "usage": settings.usage if settings.usage != "off" else "",
        "recalibration": "on" if settings.recalibrate else "",
        "stream errors": "on" if settings.stream_errors else "",
        "admin listener": settings.admin_listen,
        "access log": settings.access_log if settings.access_log != "off" else "",
        "log": process.log_words(),
    }
    return f"{program('Vespa', reactor)}: {backends}{public}; {signed}; {switches(parts)}"


def makeService(options: Options) -> IService:
    """The worker's services, or only a reporter of an error in the settings. Raises SystemExit without either."""
    from twisted.internet import reactor

    from .worker.obstacles import file_problem
    from .worker.service import make_failure_reporter, make_worker

    reactor.callWhenRunning(process.settle_memory)
    root = Root()  # type: ignore[no-untyped-call]
    process.make_tree(reactor, root)
    reading = options.reading
    settings = reading.settings
    problem = str(reading.error or "") or file_problem(reactor, settings)
    if not problem:
        for line in reading.warnings:
            log.warn("{line}", line=line)
        root.settings = settings
        log.info("{line}", line=start_line(settings, reactor))
        child = make_worker(reactor, settings, options.environ)
    elif reading.can_report:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        exit_with(1)  # even after an orderly stop, because this worker never worked
        child = make_failure_reporter(reactor, settings, problem)
        manager = service_manager(options.environ, reactor, lambda: ServiceState(False, problem), *reading.secrets)
        if manager is not None:
            manager.setServiceParent(root)  # type: ignore[no-untyped-call]
    else:
        raise SystemExit(f"error: {problem}")
    child.setServiceParent(root)
    return root


def make_application() -> Componentized:
    """The application that a .tac file holds. Raises SystemExit with what is wrong with the settings."""
    options = Options()
    options.parseOptions([])
    application: Componentized = Application("vespa")
    application.setComponent(ILogObserver, process.log_observer())
    makeService(options).setServiceParent(application)
    return application

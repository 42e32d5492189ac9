"""What `twistd vespa` and vespa.tac run: the environment, the reactor, the service tree."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from typing import Any, cast

from OpenSSL import SSL, crypto
from twisted.application.service import Application, IService, MultiService
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.components import Componentized

from . import __version__
from .config.worker_reading import Settings, SettingsError, identity_if_readable, load, secrets, warnings
from .runtime.logging import LineObserver, level_named
from .runtime.signals import Signals, Stoppable, exit_with, fail
from .transport import listen
from .transport.certificates import CertificateError
from .transport.choice import FAST, choose, is_fast
from .transport.platform import HAS_EPOLL, SELECT_SOCKETS

resource: Any
try:
    import resource
except ImportError:  # Windows
    resource = None

log = Logger()

LEAN_REACTOR = "vespa.transport.reactor"
_EXAMPLE = "tcp:3000:interface=127.0.0.1 or unix:/run/vespa.sock"
_BAD_FILE = (ValueError, OSError, SSL.Error, crypto.Error, CertificateError)


class Options(usage.Options):
    """No options: everything is read from the environment."""

    longdesc = (
        "The Vast.ai worker. All of its settings are environment variables: `vespa-proxy settings` lists them. "
        "VESPA_BACKEND_URL is the one that is always needed."
    )

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """`environ` is this process's own unless another is given."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.environ = os.environ if environ is None else environ

    def postOptions(self) -> None:
        """Read the settings and install the reactor; raises SystemExit with what is wrong with them.

        Not UsageError: above its text twistd prints all of its own options, none of which is at fault.
        """
        self.settings: Settings | None = None
        self.problem = ""
        self.identity = identity_if_readable(self.environ)
        try:
            self.settings = load(self.environ)
        except SettingsError as error:
            self.problem = str(error)
            if self.identity is None:
                raise SystemExit(f"error: {self.problem}") from None
        if self.parent is not None:
            check_pidfile(self.parent)
        install_reactor(FAST if self.settings is None else self.settings.transport)
        if self.parent is not None:
            use_our_log(self.parent)


def install_reactor(transport: str = FAST) -> None:
    """
    Choose the transports, `fast` or `stock`, and install our own reactor for the fast ones, unless one was named with
    --reactor or is there already, or it cannot run here.
    """
    choose(transport)
    if not HAS_EPOLL or not is_fast() or "twisted.internet.reactor" in sys.modules:
        return
    try:
        spec = importlib.util.find_spec(LEAN_REACTOR)
    except ModuleNotFoundError:
        return
    if spec is not None:
        install = getattr(importlib.import_module(LEAN_REACTOR), "install", None)
        if install is not None:
            install()


def check_pidfile(parent: usage.Options) -> None:
    """Raise SystemExit where twistd cannot write the file that it writes its process id to."""
    path = parent.get("pidfile")
    folder = os.path.dirname(os.path.abspath(path)) if path else "."
    if path and not os.access(folder, os.W_OK):
        why = "this user may not write there" if os.path.isdir(folder) else "there is no such folder"
        raise SystemExit(f"error: --pidfile={path}: {why}; an empty --pidfile= does without the file")


def use_our_log(parent: usage.Options, observer: str = f"{__name__}.log_observer") -> None:
    """Log through our observer, which is named, where twistd would write to standard output and was told nothing else.

    `twist`, the other program that runs plugins, has none of these options, and keeps its own log.
    """
    on_stdout = parent.get("nodaemon") or parent.get("debug")
    if on_stdout and not (parent["logger"] or parent.get("syslog") or parent["logfile"] not in (None, "-")):
        parent["logger"] = observer


def log_observer() -> LineObserver:
    """The log of this process: sys.__stdout__, because twistd makes sys.stdout a part of the log."""
    environ = os.environ
    level = level_named(environ.get("VESPA_LOG_LEVEL", "").strip() or "info")
    return LineObserver(sys.__stdout__, level, secrets(environ))


def raise_file_limit() -> None:
    """
    Allow as many open files as the system lets us, where there is a limit: every connection is one.

    Without epoll not more than select takes: one that cannot be opened is an error that is told, one that cannot be
    watched stands still.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if HAS_EPOLL else SELECT_SOCKETS if hard < 0 else min(hard, SELECT_SOCKETS)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError) as error:
        log.warn("the limit of open files stays at {soft}: {error}", soft=soft, error=error)


def settle_memory() -> None:
    """Once all is built: what lives as long as the process need not be looked at by every collection."""
    gc.collect()
    gc.freeze()


class Root(MultiService):
    """The tree's top. Where the port cannot be opened, the log says why in one line and the process ends with code 1.

    What was started before the port is stopped in order meanwhile, the reporter with the reason as its last report.
    """

    settings: Settings | None = None

    def startService(self) -> None:
        """Start the tree."""
        from twisted.internet import reactor

        from .worker.service import listen_problem

        try:
            super().startService()  # type: ignore[no-untyped-call]
        except (CannotListenError, OSError, OverflowError) as error:  # the last for a port above 65535
            if self.settings is None:
                raise
            log.critical("{why}", why=listen_problem(self.settings, error))
            fail(cast(Stoppable, reactor))


def start_line(settings: Settings) -> str:
    """What starts: version, backend, and who may ask it where."""
    backend = settings.backend.url if settings.backend is not None else ""
    public = f", clients reach it at {settings.public_url}" if settings.public_url else ""
    signed = "requests must be signed" if settings.secured else "unsecured: requests need no signature"
    return f"Vespa {__version__}: backend {backend}{public}; {signed}"


def makeService(options: Options) -> IService:
    """The worker's tree, or the one that only tells the autoscaler why there is none; SystemExit if it cannot."""
    from twisted.internet import reactor

    from .worker.service import make_failure_reporter, make_worker

    raise_file_limit()
    reactor.callWhenRunning(settle_memory)
    root = Root()  # type: ignore[no-untyped-call]
    Signals(cast(Stoppable, reactor)).setServiceParent(root)  # type: ignore[no-untyped-call]
    settings, problem = options.settings, options.problem
    if settings is not None:
        problem = file_problem(reactor, settings)
    if settings is not None and not problem:
        for line in warnings(options.environ):
            log.warn("{line}", line=line)
        root.settings = settings
        log.info("{line}", line=start_line(settings))
        child = make_worker(reactor, settings, options.environ)
    elif options.identity is not None:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        exit_with(1)  # however orderly it ends, this worker never worked
        child = make_failure_reporter(reactor, options.identity, problem)
    else:
        raise SystemExit(f"error: {problem}")
    child.setServiceParent(root)
    return root


def file_problem(reactor: object, settings: Settings) -> str:
    """What is wrong with the endpoint, its certificate or the roots, which only shows once they are loaded; or ""."""
    from .runtime.trust import trust_roots

    try:
        listen.parse(reactor, settings.endpoint)
    except CertificateError as error:
        names = "VESPA_LISTEN names" if settings.listen else "VESPA_SSL_CERT_FILE and VESPA_SSL_KEY_FILE name"
        return f"cannot listen on {settings.listen or 'TLS'}: {error}; {names} the files"
    except OSError as error:
        return f"cannot listen on VESPA_LISTEN={settings.listen!r}: {error.filename}: {error.strerror}"
    except (*_BAD_FILE, TypeError, LookupError) as error:
        why = str(error) or type(error).__name__
        if isinstance(error, TypeError):
            why = "an argument is missing or unknown"
        elif why.startswith("invalid literal for int"):
            why = f"{why.rpartition(': ')[2]} must be a whole number"
        return f"cannot listen on VESPA_LISTEN={settings.listen!r}: {why}; write it like {_EXAMPLE}"
    try:
        trust_roots(settings.backend_ca_file)
    except _BAD_FILE as error:
        return f"VESPA_BACKEND_CA_FILE={settings.backend_ca_file!r}: {error or type(error).__name__}"
    return ""


def make_application() -> Componentized:
    """The application that a .tac file holds; raises SystemExit with what is wrong with the settings."""
    options = Options()
    options.parseOptions([])  # type: ignore[no-untyped-call]
    application: Componentized = Application("vespa")
    application.setComponent(ILogObserver, log_observer())
    makeService(options).setServiceParent(application)
    return application

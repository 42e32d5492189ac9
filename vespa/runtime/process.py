"""How a process of ours starts and ends, be it by twistd or by a command: reactor, files, log, signals, exit code."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any, Final, TextIO, cast

from twisted.application.service import MultiService
from twisted.logger import FilteringLogObserver, Logger, LogLevel, LogLevelFilterPredicate, globalLogBeginner
from twisted.python import usage

from vespa.runtime.logging import LineObserver, level_named
from vespa.runtime.services import CoroutineService
from vespa.runtime.signals import STOPPING, Signals, Stoppable, stop, take_signals
from vespa.transport.choice import FAST, choose, is_fast
from vespa.transport.platform import HAS_EPOLL, SELECT_SOCKETS

resource: Any
try:
    import resource
except ImportError:  # Windows
    resource = None

log = Logger()

LEAN_REACTOR: Final = "vespa.transport.reactor"


def install_reactor(transport: str = FAST) -> Any:
    """
    Choose the transports, `fast` or `stock`, and return the reactor.

    For the fast ones it is our own, unless one was named with --reactor or is there already, or it cannot run here.
    """
    choose(transport)
    if HAS_EPOLL and is_fast() and "twisted.internet.reactor" not in sys.modules:
        install = getattr(importlib.import_module(LEAN_REACTOR), "install", None)
        if install is not None:
            install()
    from twisted.internet import reactor

    return reactor


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


# -- by twistd


# twistd finds its log by a name, and asks for it without arguments.
_observer: LineObserver | None = None


def log_observer() -> LineObserver:
    """The log of this process; made with its options, whose secrets it hides."""
    assert _observer is not None
    return _observer


def prepare(parent: usage.Options | None, transport: str, level: str, secrets: Sequence[str]) -> None:
    """
    Install the reactor and make the log, once a plugin's options are known. `parent` has twistd's own options.

    Raises SystemExit where twistd could not write the file of its process id.
    """
    global _observer
    if parent is not None:
        check_pidfile(parent)
    install_reactor(transport)
    # sys.__stdout__, because twistd makes sys.stdout a part of the log.
    _observer = LineObserver(sys.__stdout__, level_named(level), secrets)
    if parent is not None:
        use_our_log(parent)


def check_pidfile(parent: usage.Options) -> None:
    """Raise SystemExit where twistd cannot write the file that it writes its process id to."""
    path = parent.get("pidfile")
    folder = os.path.dirname(os.path.abspath(path)) if path else "."
    if path and not os.access(folder, os.W_OK):
        why = "this user may not write there" if os.path.isdir(folder) else "there is no such folder"
        raise SystemExit(f"error: --pidfile={path}: {why}; an empty --pidfile= does without the file")


def use_our_log(parent: usage.Options) -> None:
    """Log through our observer, where twistd would write to standard output and was told nothing else.

    `twist`, the other program that runs plugins, has none of these options, and keeps its own log.
    """
    on_stdout = parent.get("nodaemon") or parent.get("debug")
    if on_stdout and not (parent["logger"] or parent.get("syslog") or parent["logfile"] not in (None, "-")):
        parent["logger"] = f"{__name__}.{log_observer.__name__}"


def make_tree(reactor: object, root: MultiService) -> None:
    """Have a tree of services take the signals before anything else, and allow the process its files."""
    raise_file_limit()
    Signals(cast(Stoppable, reactor)).setServiceParent(root)  # type: ignore[no-untyped-call]


# -- by a command


def begin_log(stream: TextIO, level: str, secrets: Sequence[str], quiet: Iterable[str] = ()) -> LineObserver:
    """Log to a stream, without the secrets; of the namespaces that are to be `quiet` only warnings."""
    observer = LineObserver(stream, level_named(level), secrets)
    predicate = LogLevelFilterPredicate(LogLevel.debug)
    for namespace in quiet:
        predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
    globalLogBeginner.beginLoggingTo([FilteringLogObserver(observer, [predicate])], redirectStandardIO=False)
    return observer


class Main(CoroutineService):
    """
    A coroutine that is all that a process does: `main`, which returns the exit code, `code` from then on.

    At its end the process ends. Stopped before, `main` is cancelled, and may end in order what it has begun.
    """

    def __init__(self, reactor: Any, ended: Callable[[int], object] | None = None) -> None:
        """`ended` is called with the exit code; else the reactor is stopped."""
        self.code = 0
        self._reactor = reactor
        self._at_end = ended or (lambda code: stop(reactor))

    async def main(self) -> int:
        """Do everything and return the exit code."""
        raise NotImplementedError

    async def run(self) -> None:
        """Do everything, and end the process."""
        try:
            self.code = await self.main()
        except Exception:
            log.failure("the command failed")
            self.code = 1
        finally:
            self._at_end(self.code)


def run(
    reactor: Any,
    main: Main,
    *,
    on_signal: Callable[[int, FrameType | None], None] | None = None,
    signals: Iterable[int] = STOPPING,
) -> int:
    """
    Run `main` in the reactor, and return its exit code.

    `on_signal` handles the signals; else the first one ends `main` in order, and a second one the process at once.
    """
    raise_file_limit()
    if on_signal is None:
        Signals(reactor).startService()
    else:
        take_signals(reactor, on_signal, signals)
    reactor.callWhenRunning(main.startService)
    reactor.addSystemEventTrigger("before", "shutdown", main.stopService)
    reactor.run()
    return main.code

"""The start and the end of every process: its reactor, file limit, log, signals and exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any, TextIO, cast

from twisted.application.service import MultiService
from twisted.logger import FilteringLogObserver, Logger, LogLevel, LogLevelFilterPredicate, globalLogBeginner
from twisted.python import usage

from vespa.runtime.logging import LineObserver, level_named
from vespa.runtime.services import CoroutineService
from vespa.runtime.signals import STOPPING, Signals, Stoppable, stop, take_signals
from vespa.transport.choice import FAST, choose
from vespa.transport.platform import HAS_EPOLL, SELECT_SOCKETS, install_own_reactor

resource: Any
try:
    import resource
except ImportError:  # Windows
    resource = None

log = Logger()


def install_reactor(transport: str = FAST) -> Any:
    """
    Choose the transports, `fast` or `stock`, and return the reactor.

    The fast transports have a reactor of their own. It is installed if the system has epoll and no other is installed.
    """
    choose(transport)
    install_own_reactor()
    from twisted.internet import reactor

    return reactor


def raise_file_limit() -> None:
    """
    Raise the limit of open files as far as the system allows, because every connection is one.

    Without epoll the limit is what select can watch: a connection above it would hang, where one above the limit is an
    error that the log shows.
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
    """Call this when everything is built: collections no longer look at what lives as long as the process."""
    gc.collect()
    gc.freeze()


# -- by twistd


# twistd finds the log by its name, and calls it without arguments.
_observer: LineObserver | None = None


def log_observer() -> LineObserver:
    """The log of this process, which hides its secrets. `prepare` makes it."""
    assert _observer is not None
    return _observer


def prepare(parent: usage.Options | None, transport: str, level: str, secrets: Sequence[str]) -> None:
    """
    Install the reactor and make the log. A plugin calls this in postOptions; `parent` holds twistd's own options.

    Raises SystemExit if twistd cannot write its pid file.
    """
    global _observer
    if parent is not None:
        check_pidfile(parent)
    install_reactor(transport)
    # sys.__stdout__, because twistd redirects sys.stdout into the log.
    _observer = LineObserver(sys.__stdout__, level_named(level), secrets)
    if parent is not None:
        use_our_log(parent)


def check_pidfile(parent: usage.Options) -> None:
    """Raise SystemExit if twistd cannot write its pid file."""
    path = parent.get("pidfile")
    folder = os.path.dirname(os.path.abspath(path)) if path else "."
    if path and not os.access(folder, os.W_OK):
        why = "this user may not write there" if os.path.isdir(folder) else "there is no such folder"
        raise SystemExit(f"error: --pidfile={path}: {why}; an empty --pidfile= does without the file")


def use_our_log(parent: usage.Options) -> None:
    """
    Have twistd log through `log_observer` if it would log to standard output in a format of its own.

    `twist`, the other program that runs plugins, has none of these options, and keeps its own log.
    """
    on_stdout = parent.get("nodaemon") or parent.get("debug")
    if on_stdout and not (parent["logger"] or parent.get("syslog") or parent["logfile"] not in (None, "-")):
        parent["logger"] = f"{__name__}.{log_observer.__name__}"


def make_tree(reactor: object, root: MultiService) -> None:
    """Raise the file limit, and have a tree of services handle the signals before it starts anything else."""
    raise_file_limit()
    Signals(cast(Stoppable, reactor)).setServiceParent(root)  # type: ignore[no-untyped-call]


# -- by a command


def begin_log(stream: TextIO, level: str, secrets: Sequence[str], quiet: Iterable[str] = ()) -> LineObserver:
    """Log to a stream, with the secrets hidden. Of the namespaces in `quiet` only warnings are logged."""
    observer = LineObserver(stream, level_named(level), secrets)
    predicate = LogLevelFilterPredicate(LogLevel.debug)
    for namespace in quiet:
        predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
    globalLogBeginner.beginLoggingTo([FilteringLogObserver(observer, [predicate])], redirectStandardIO=False)
    return observer


class Main(CoroutineService):
    """
    The work of a process, as one coroutine: `main`. It returns the exit code, which `code` then holds.

    The process ends when `main` does. To stop it earlier cancels `main`, which may still clean up.
    """

    def __init__(self, reactor: Any, ended: Callable[[int], object] | None = None) -> None:
        """`ended` is called with the exit code at the end. By default the reactor is stopped."""
        self.code = 0
        self._reactor = reactor
        self._at_end = ended or (lambda code: stop(reactor))

    async def main(self) -> int:
        """Do the work and return the exit code."""
        raise NotImplementedError

    async def run(self) -> None:
        """Do the work, and end the process."""
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

    `on_signal` handles the signals. By default the first one stops `main`, and a second one ends the process at once.
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

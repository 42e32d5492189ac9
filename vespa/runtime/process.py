"""The start and the end of every process: its reactor, file limit, log, signals and exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any, TextIO, cast

from twisted.application.service import MultiService
from twisted.logger import Logger, globalLogBeginner
from twisted.python import usage

from vespa.runtime.log_level import LevelSignal, LevelSwitch
from vespa.runtime.logging import LineObserver, chosen_format, level_named
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


# -- the log


class _Logs:
    """The log of this process, once it is made."""

    observer: LineObserver | None = None
    levels: LevelSwitch | None = None
    by_twistd = False  # it writes to a file, for example, in its own format

    def make(
        self,
        stream: TextIO | None,
        level: str,
        secrets: Sequence[str],
        log_format: str,
        *,
        for_people: bool = False,
        quiet: Iterable[str] = (),
    ) -> LineObserver:
        chosen = chosen_format(log_format, stream, for_people=for_people)
        self.observer = LineObserver(stream, level_named(level), secrets, format=chosen, quiet=quiet)
        self.levels = LevelSwitch(self.observer)
        return self.observer


_logs = _Logs()


# twistd finds it by its name, and calls it without arguments.
def log_observer() -> LineObserver:
    """The log of this process, which hides its secrets. `prepare` or `begin_log` makes it."""
    assert _logs.observer is not None
    return _logs.observer


def own_log() -> LineObserver | None:
    """The log of this process if it is Vespa's own; None if twistd or a program that embeds Vespa has another one."""
    observer = _logs.observer
    return observer if observer is not None and observer.is_used else None


def log_words() -> str:
    """Where the log comes from, for people: its format, or whose it is."""
    if _logs.observer is None or _logs.by_twistd:
        return "by the program that runs it"
    return f"as {_logs.observer.format}"


def set_level(name: str) -> None:
    """Log from this level on, one of `runtime.logging.LEVELS`. Raises ValueError with the reason if that cannot be."""
    if _logs.levels is None:
        raise ValueError("the program that this is a part of chooses the level of its log")
    _logs.levels.set(name)


def level() -> str:
    """The lowest level that is logged now; "" if another program chooses it."""
    return _logs.observer.level.name if _logs.observer is not None else ""


# -- by twistd


def prepare(
    parent: usage.Options | None,
    transport: str,
    level: str,
    secrets: Sequence[str],
    *,
    log_format: str = "text",
    for_people: bool = False,
) -> None:
    """
    Install the reactor and make the log. A plugin calls this in postOptions; `parent` holds twistd's own options.

    `log_format` and `for_people` are those of `runtime.logging.chosen_format`. Raises SystemExit if twistd cannot
    write its pid file.
    """
    if parent is not None:
        check_pidfile(parent)
    install_reactor(transport)
    # sys.__stdout__, because twistd redirects sys.stdout into the log.
    _logs.make(sys.__stdout__, level, secrets, log_format, for_people=for_people)
    _logs.by_twistd = parent is not None and not use_our_log(parent)


def check_pidfile(parent: usage.Options) -> None:
    """Raise SystemExit if twistd cannot write its pid file."""
    path = parent.get("pidfile")
    folder = os.path.dirname(os.path.abspath(path)) if path else "."
    if path and not os.access(folder, os.W_OK):
        why = "this user may not write there" if os.path.isdir(folder) else "there is no such folder"
        raise SystemExit(f"error: --pidfile={path}: {why}; an empty --pidfile= does without the file")


def use_our_log(parent: usage.Options) -> bool:
    """
    Have twistd log through `log_observer` if it would log to standard output in a format of its own.

    `twist`, the other program that runs plugins, has none of these options, and keeps its own log. Returns False if
    twistd or twist keeps its own log.
    """
    on_stdout = parent.get("nodaemon") or parent.get("debug")
    if not on_stdout or parent["logger"] or parent.get("syslog") or parent["logfile"] not in (None, "-"):
        return False
    parent["logger"] = f"{__name__}.{log_observer.__name__}"
    return True


def make_tree(reactor: object, root: MultiService) -> None:
    """Raise the file limit, and have a tree of services handle the signals before it starts anything else."""
    raise_file_limit()
    Signals(cast(Stoppable, reactor)).setServiceParent(root)  # type: ignore[no-untyped-call]
    if _logs.levels is not None:
        LevelSignal(cast(Stoppable, reactor), _logs.levels.toggle).setServiceParent(root)  # type: ignore[no-untyped-call]


# -- by a command


def begin_log(
    stream: TextIO, level: str, secrets: Sequence[str], quiet: Iterable[str] = (), *, log_format: str = "text"
) -> LineObserver:
    """Log to a stream, with the secrets hidden. Of `quiet` namespaces only warnings are logged, unless it is debug."""
    observer = _logs.make(stream, level, secrets, log_format, quiet=quiet)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
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
    if _logs.levels is not None:
        LevelSignal(reactor, _logs.levels.toggle).startService()
    reactor.callWhenRunning(main.startService)
    reactor.addSystemEventTrigger("before", "shutdown", main.stopService)
    reactor.run()
    return main.code

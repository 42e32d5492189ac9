"""
Python as it is on another system, for this process and those that it starts: as far as names go.

With this folder in PYTHONPATH and MASKED_AS=darwin or win32 in the environment Python imports this module first.
`darwin`: what only Linux has is gone for everyone, so that Twisted chooses as it does on macOS. `win32`: Twisted and
the standard library could not run here without what Windows lacks, so that only our own modules and the tests miss it.
"""

from __future__ import annotations

import builtins
import importlib
import os
import sys
from types import ModuleType
from typing import Any

MASK = os.environ.get("MASKED_AS", "")

OURS = ("vespa", "benchmarks", "tests", "perf", "__main__")

_TCP_OF_MACOS = {"TCP_NODELAY", "TCP_MAXSEG", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_FASTOPEN", "TCP_NOTSENT_LOWAT"}


def _names(module: str, *prefixes: str) -> set[str]:
    return {name for name in dir(importlib.import_module(module)) if name.startswith(prefixes)}


def _of_linux() -> dict[str, set[str]]:
    """What Linux has and macOS has not, by module."""
    return {
        "socket": {
            "SOCK_NONBLOCK",
            "SOCK_CLOEXEC",
            "SO_PEERCRED",
            "SO_DOMAIN",
            "SO_PROTOCOL",
            "SO_BINDTODEVICE",
            "SO_MARK",
            "MSG_MORE",
            "MSG_CONFIRM",
            "MSG_ERRQUEUE",
        }
        | (_names("socket", "TCP_") - _TCP_OF_MACOS),
        "select": {"epoll", "POLLRDHUP", "POLLMSG"} | _names("select", "EPOLL"),
        "os": {"splice", "pipe2", "memfd_create", "copy_file_range", "posix_fadvise", "posix_fallocate", "getrandom"}
        | _names("os", "SPLICE_", "eventfd", "EFD_", "MFD_", "sched_", "pidfd_", "timerfd_", "O_DIRECT", "O_TMPFILE"),
        "fcntl": {"F_SETPIPE_SZ", "F_GETPIPE_SZ"} | _names("fcntl", "F_SEAL", "F_ADD_SEALS", "F_NOTIFY"),
        "signal": {"sigwaitinfo", "sigtimedwait", "SIGCLD", "SIGPOLL", "SIGPWR", "SIGSTKFLT", "SIGRTMIN", "SIGRTMAX"},
        "resource": {"prlimit"},
        "termios": {"SIOCOUTQ", "TIOCOUTQ"},
    }


NOT_ON_WINDOWS = frozenset("crypt curses fcntl grp pty pwd readline resource syslog termios tty".split())

_SIGNALS_OF_WINDOWS = frozenset("SIGABRT SIGFPE SIGILL SIGINT SIGSEGV SIGTERM SIG_DFL SIG_IGN".split())


def _of_posix() -> dict[str, set[str]]:
    """What Windows has not, by module, in those modules that it has."""
    return {
        "socket": _of_linux()["socket"]
        | {"AF_UNIX", "SO_REUSEPORT", "MSG_DONTWAIT", "MSG_NOSIGNAL", "MSG_EOR", "CMSG_LEN", "CMSG_SPACE"},
        "select": {"poll", "epoll"} | _names("select", "POLL", "EPOLL"),
        "os": _of_linux()["os"]
        | _names("os", "WIF", "WEXIT", "WTERM", "WSTOP", "WCORE", "posix_", "sched_", "fork", "getres", "setres")
        | set(
            "O_CLOEXEC O_NOCTTY O_NOFOLLOW O_NONBLOCK O_DIRECTORY O_SYNC chown chroot ctermid environb fchdir fchmod "
            "fchown fdatasync fpathconf get_blocking getegid geteuid getgid getgroups getloadavg getpgid getpgrp "
            "getpriority getsid getuid initgroups killpg lchown lockf major makedev minor mkfifo mknod nice openpty "
            "pathconf pread preadv pwrite pwritev readv sendfile set_blocking setegid seteuid setgid setgroups setpgid "
            "setpriority setregid setreuid setsid setuid statvfs fstatvfs sync sysconf tcgetpgrp tcsetpgrp ttyname "
            "uname wait wait3 wait4 waitid writev getxattr listxattr setxattr confstr".split()
        ),
        "signal": _names("signal", "SIG", "ITIMER") - _SIGNALS_OF_WINDOWS
        | set("alarm pause pthread_kill pthread_sigmask setitimer getitimer siginterrupt sigpending sigwait".split()),
        "time": {"tzset", "pthread_getcpuclockid"},
        "sys": set(),
    }


class _Masked(ModuleType):
    """A module without some of its names, and with others instead."""

    def __init__(self, real: ModuleType, hidden: set[str], others: dict[str, object]) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(_real=real, _hidden=hidden, _others=others)
        # `import os.path` and `from os import path` find it as they do in a real one.
        self.__dict__.update(__spec__=real.__spec__, __file__=getattr(real, "__file__", None))

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__["_others"]:
            return self.__dict__["_others"][name]
        if name in self.__dict__["_hidden"]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} (masked)")
        return getattr(self.__dict__["_real"], name)

    def __setattr__(self, name: str, value: object) -> None:
        place = self.__dict__["_others"] if name in self.__dict__["_others"] else self.__dict__["_real"].__dict__
        place[name] = value

    def __delattr__(self, name: str) -> None:
        delattr(self.__dict__["_real"], name)

    def __dir__(self) -> list[str]:
        return [name for name in dir(self.__dict__["_real"]) if name not in self.__dict__["_hidden"]]


def _as_macos() -> None:
    # These look for modules of macOS's own once they see its name.
    import selectors
    import sysconfig
    import urllib.request  # noqa: F401

    sysconfig.get_config_vars()
    selectors.DefaultSelector = selectors.PollSelector  # type: ignore[misc]
    del selectors.EpollSelector
    for module, names in _of_linux().items():
        loaded = importlib.import_module(module)
        for name in names:
            if hasattr(loaded, name):
                delattr(loaded, name)
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on it asks for the affinity where Linux has that
        os.process_cpu_count = os.cpu_count
    sys.platform = "darwin"


def _as_windows() -> None:
    others: dict[str, dict[str, object]] = {"os": {"name": "nt"}, "sys": {"platform": "win32"}}
    masked = {
        name: _Masked(importlib.import_module(name), hidden, others.get(name, {}))
        for name, hidden in _of_posix().items()
    }
    real_import = builtins.__import__

    def import_masked(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> ModuleType:
        importer = str((globals or {}).get("__name__") or "")
        if level == 0 and importer.split(".")[0] in OURS:
            if name in NOT_ON_WINDOWS:
                raise ModuleNotFoundError(f"No module named {name!r} (masked)", name=name)
            if name in masked:
                return masked[name]
        return real_import(name, globals, locals, fromlist, level)

    builtins.__import__ = import_masked
    # What Twisted chooses on Windows.
    default = ModuleType("twisted.internet.default")

    def install() -> None:
        from twisted.internet import selectreactor

        selectreactor.install()

    default.__dict__["install"] = install
    sys.modules["twisted.internet.default"] = default


if MASK == "darwin":
    _as_macos()
elif MASK == "win32":
    _as_windows()
elif MASK:
    raise SystemExit(f"MASKED_AS={MASK!r}: darwin and win32 are known")

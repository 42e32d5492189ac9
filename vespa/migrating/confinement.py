"""What the process that runs a worker's file must not do: use the network, or start what outlives its end.

An audit hook refuses Python's own sockets with a sentence. On Linux a seccomp filter does the same for programs that
the file starts, and keeps them in the process's group, so that the parent's SIGKILL to the group reaches all of them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys
from typing import Any, Final

REFUSED: Final = "the network is off while vespa-proxy migrate reads this file"
LARGEST_FILE: Final = 256 * 1024 * 1024
"""Bytes of the largest file that it may write."""
MOST_DATA: Final = 16 * 1024 * 1024 * 1024
"""Bytes of memory that it may use; Linux counts what it can write to."""

_LOCAL: Final = tuple(getattr(socket, name) for name in ("AF_UNIX",) if hasattr(socket, name))
_EVENTS: Final = frozenset(
    "socket.connect socket.bind socket.getaddrinfo socket.gethostbyname socket.gethostbyaddr socket.getnameinfo "
    "socket.sendto socket.sendmsg".split()
)

# linux/audit.h and the tables of system calls: architecture, socket, setsid, setpgid
_CALLS: Final = {"x86_64": (0xC000003E, 41, 112, 109), "aarch64": (0xC00000B7, 198, 157, 154)}
_IO_URING_SETUP: Final = 425  # on every architecture; it makes sockets too
_X32: Final = 0x40000000  # calls of the 32-bit interface to x86_64 have this bit
_EACCES: Final = 13
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
# linux/bpf_common.h: load a word, compare, return
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data


class NetworkIsOff(OSError):
    """The file wanted to use the network."""


def confine() -> None:
    """Confine this process and all that it starts, from now on and for good."""
    _limit()
    _filter()
    sys.addaudithook(refuse)


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook. Raises NetworkIsOff for a socket of the network, and for its use; local sockets may be used."""
    if event == "socket.__new__":
        # On Windows asyncio makes a pair of TCP sockets for itself.
        if os.name != "nt" and arguments[1] not in _LOCAL:
            raise NetworkIsOff(REFUSED)
    elif event in _EVENTS and getattr(arguments[0], "family", None) not in _LOCAL:
        address = arguments[1] if len(arguments) > 1 else None
        if os.name != "nt" or not (isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1")):
            raise NetworkIsOff(REFUSED)


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, most in (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", LARGEST_FILE), ("RLIMIT_DATA", MOST_DATA)):
        if sys.platform != "linux" and kind == "RLIMIT_DATA":
            continue
        number = getattr(resource, kind)
        hard = resource.getrlimit(number)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(number, (least, hard))
        except (OSError, ValueError):  # not allowed here
            pass


def _filter() -> None:
    """Install the seccomp filter, where the system has it. It holds for this thread, and for all that it starts."""
    calls = _CALLS.get(platform.machine())
    if sys.platform != "linux" or calls is None or sys.maxsize < 2**32:
        return
    program = ctypes.create_string_buffer(filter_program(*calls))
    count = (len(program) - 1) // 8
    # struct sock_fprog: the count, and the address of the instructions
    header = ctypes.create_string_buffer(struct.pack("@HP", count, ctypes.addressof(program)))
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        nothing = ctypes.c_ulong(0)
        prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), nothing, nothing, nothing)
        prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(header), nothing, nothing)
    except (OSError, AttributeError):  # another C library
        pass


def filter_program(architecture: int, socket_call: int, setsid: int, setpgid: int) -> bytes:
    """The filter: 8 bytes an instruction (code, steps if true, steps if not, operand).

    Sockets other than Unix sockets are refused, and so are all calls of other architectures. To setsid and setpgid it
    answers 0 without doing anything, because an error would end files that start their model server in a new session.
    """
    refuse, pretend = _ERRNO | _EACCES, _ERRNO
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, refuse),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 7, 0, _X32),  # to "refuse"
        (_EQUAL, 6, 0, _IO_URING_SETUP),  # to "refuse"
        (_EQUAL, 3, 0, socket_call),  # to the socket's family
        (_EQUAL, 5, 0, setsid),  # to "pretend"
        (_EQUAL, 4, 0, setpgid),  # to "pretend"
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 2, 0, 1),  # AF_UNIX: to "allow"
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, pretend),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("@HBBI", *each) for each in instructions)

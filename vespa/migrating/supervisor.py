"""The process between `vespa-proxy migrate` and a worker's file: it ends with the former, and takes all others along.

It leads the group of the file's process and of what the file starts. The kernel can end one process with its parent,
but not those that it has started.
"""

from __future__ import annotations

import os
import select
import signal
from typing import NoReturn

from vespa.runtime.parent_death import signal_at_parent_death


def supervise(orders: int) -> None:
    """
    Fork. The new process returns; this one ends as the new one ends, and kills the group when `orders` is closed.

    `orders` is the descriptor of a pipe that the parent keeps open. Without forks, as on Windows, or if this process
    does not lead its group, nothing is done.
    """
    if not hasattr(os, "fork") or os.getpgrp() != os.getpid():
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writing)  # so that the end of the new process ends the wait for `orders`
    child = os.fork()
    if child:
        _watch(child, orders, reading)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)
    os.close(reading)
    os.close(writing)
    signal_at_parent_death(signal.SIGKILL)


def _watch(child: int, orders: int, ended: int) -> NoReturn:
    while True:
        ready = select.select([orders, ended], [], [])[0]
        if orders in ready and not os.read(orders, 4096):
            os.killpg(0, signal.SIGKILL)
        if ended in ready:
            os.read(ended, 4096)
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                _end_as(os.waitstatus_to_exitcode(status))


def _end_as(code: int) -> NoReturn:
    """End this process with an exit code, or by a signal if the code is less than 0."""
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(abs(code))

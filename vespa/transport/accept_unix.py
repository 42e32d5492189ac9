"""A listening unix socket that makes our own transports. Only for systems with unix sockets."""

from __future__ import annotations

import os
import socket
import stat
from typing import Any

from twisted.internet import unix
from twisted.internet.address import UNIXAddress

from vespa.transport.accept import Port


class UNIXPort(Port, unix.Port):
    """
    A unix port that makes `ServerTransport`s. Unlike Twisted's, it does not pass descriptors on.

    With a lock file it replaces a socket at which nobody listens. Twisted asks instead whether the process that the
    lock file names runs: in a container that starts again, another one or the new one itself has the same id.
    """

    def __init__(self, fileName: bytes, *rest: Any, **named: Any) -> None:
        """The arguments of Twisted's own port."""
        super().__init__(fileName, *rest, **named)
        self._path = UNIXAddress(fileName).name

    def startListening(self) -> None:
        """Open the port. After CannotListenError it may be tried again."""
        if self.wantPID and self._path:
            _remove_left_behind(self._path)
        try:
            super().startListening()
        except Exception:
            # Twisted keeps its lock file, which would refuse every later try of this process.
            if self.lockFile is not None and self.lockFile.locked:
                self.lockFile.unlock()
            raise


def _remove_left_behind(path: bytes) -> None:
    """Remove a socket that refuses connections, because its process has ended, and the lock file with it."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except ConnectionRefusedError:
        for left in (path, path + b".lock"):
            try:
                os.remove(left)
            except OSError:
                pass  # the system's reason follows when the port is opened
    except OSError:
        pass  # there is none, or it is in use

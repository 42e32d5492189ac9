"""Small files that are read and replaced as a whole, with checks for other things at their paths."""

from __future__ import annotations

import os
import stat
import tempfile

# Each system has some of these. Without O_BINARY Windows would read a file as text.
_READING = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _READING |= getattr(os, _name, 0)


def read_file(path: str, limit: int) -> bytes:
    """The first `limit` bytes of a regular file. Raises OSError if there is none. Never blocks, unlike a named pipe."""
    descriptor = os.open(path, _READING)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        return file.read(limit)


def replace_file(path: str, content: bytes, mode: int = 0o600) -> None:
    """Write beside the file and rename over it, so that a reader sees either the whole old file or the whole new one.

    Raises OSError if that fails, or if a device, for example, is at `path`: the rename would destroy it. A
    symbolic link is replaced by the file.
    """
    if os.path.lexists(path) and not stat.S_ISREG(found := os.lstat(path).st_mode) and not stat.S_ISLNK(found):
        raise OSError("not a regular file")
    descriptor, temporary = tempfile.mkstemp(prefix=".vespa-", dir=os.path.dirname(os.path.abspath(path)))
    try:
        with open(descriptor, "wb") as file:
            os.chmod(temporary, mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

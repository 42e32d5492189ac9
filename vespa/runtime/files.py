"""Small files that are read and replaced whole, whatever else may be at their paths."""

from __future__ import annotations

import os
import stat
import tempfile

# Each system has some of them. Windows would take a text for what is to be read otherwise.
_READING = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _READING |= getattr(os, _name, 0)


def read_file(path: str, limit: int) -> bytes:
    """The first `limit` bytes of a regular file. OSError where there is none; never blocks, as a named pipe would."""
    descriptor = os.open(path, _READING)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a file")
        return file.read(limit)


def replace_file(path: str, content: bytes, mode: int = 0o600) -> None:
    """Write beside the file and rename over it, so that a reader sees the old one or the new one, whole.

    Raises OSError where that fails, or where a device or the like is at `path`: to rename over it is to lose it. A
    symbolic link is replaced by the file.
    """
    if os.path.lexists(path) and not stat.S_ISREG(found := os.lstat(path).st_mode) and not stat.S_ISLNK(found):
        raise OSError("not a file")
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

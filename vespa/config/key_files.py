"""The files in which Vast's own command line keeps the account key."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping

from attrs import field, frozen

from vespa.config.values import key
from vespa.vast.credentials import LONGEST


@frozen
class KeyFile:
    """A file's text, at most a little more than a key, and whether every user of the machine can read it."""

    text: str = field(repr=False)
    is_open: bool = False


ReadFile = Callable[[str], KeyFile | None]


def read_file(path: str) -> KeyFile | None:
    """The text of a file; None if it does not exist. Raises OSError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            is_open = os.name == "posix" and bool(mode & stat.S_IROTH)  # on Windows the mode says nothing
            return KeyFile(file.read(LONGEST + 2).decode("utf-8", "replace"), is_open)
    except FileNotFoundError:
        return None


def account_key_files(environ: Mapping[str, str], *, windows: bool = os.name == "nt") -> list[str]:
    """The files that may hold an account key, in the order of Vast's own command; on Windows in %APPDATA% first."""
    home = environ.get("USERPROFILE" if windows else "HOME", "")
    config, roaming = environ.get("XDG_CONFIG_HOME", ""), environ.get("APPDATA", "") if windows else ""
    if not os.path.isabs(config):  # the standard says to ignore it
        config = os.path.join(home, ".config") if home else ""
    found = [os.path.join(folder, "vastai", "vast_api_key") for folder in (roaming, config) if folder]
    return found + ([os.path.join(home, ".vast_api_key")] if home else [])


@frozen
class FoundKey:
    """An account key, and the path of its file; "" and "" without one. `warnings` do not show it."""

    key: str = field(default="", repr=False)
    path: str = ""
    warnings: tuple[str, ...] = ()


def account_key(environ: Mapping[str, str], read: ReadFile = read_file) -> FoundKey:
    """The account key in the first file that is not empty."""
    warnings: list[str] = []
    for path in account_key_files(environ):
        try:
            file = read(path)
        except OSError as error:
            warnings.append(f"{path} is ignored: {error.strerror or type(error).__name__}")
            continue
        text = file.text.strip() if file is not None else ""
        if file is None or not text:
            continue
        try:
            found = key(text)
        except ValueError:
            warnings.append(f"{path} is ignored: it does not contain a key")
            continue
        if file.is_open:
            warnings.append(f"{path} can be read by every user of this machine: run chmod 600 on it")
        return FoundKey(found, path, tuple(warnings))
    return FoundKey(warnings=tuple(warnings))

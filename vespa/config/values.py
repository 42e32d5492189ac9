"""How the text of an environment variable becomes a value; each parser raises ValueError saying what is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from attrs import frozen

Value = TypeVar("Value")
Parser = Callable[[str], Value]

_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_PATH = re.compile(r"[!-~]*")
_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_FIELD_VALUE = re.compile(r"[!-~]+(?:[ \t]+[!-~]+)*")
_LABEL_MAX = 63  # characters, RFC 1035 2.3.4
_PROTOCOL = re.compile(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+")
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


@frozen
class Backend:
    """Where the backend listens: `unix_path`, or host and port; `prefix` has no final slash."""

    scheme: str
    host: str
    port: int
    prefix: str = ""
    unix_path: str | None = None

    @property
    def url(self) -> str:
        """The address as text, without a final slash; the default port is left out."""
        if self.unix_path is not None:
            return f"unix:{self.unix_path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        at = host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"
        return f"{self.scheme}://{at}{self.prefix}"


def text(raw: str) -> str:
    """Any text without control characters."""
    if not raw.isprintable():
        raise ValueError("must not contain control characters")
    return raw


def field_value(raw: str) -> str:
    """The value of a header field: one line of printable ASCII."""
    if not _FIELD_VALUE.fullmatch(raw):
        raise ValueError("must be one line of printable ASCII, such as: Bearer KEY")
    return raw


def path(raw: str) -> str:
    """A path to ask the backend for, with a query if need be."""
    if not raw.startswith("/") or not _PATH.fullmatch(raw) or "#" in raw:
        raise ValueError("must be a path that starts with / and is printable ASCII")
    return raw


def path_or_off(raw: str) -> str:
    """A path, or the word "off", which is no path."""
    return "" if raw.lower() == "off" else path(raw)


def boolean(raw: str) -> bool:
    """true/false, 1/0, yes/no, on/off, in any case."""
    word = raw.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("must be true or false (1/0, yes/no and on/off will do)")


def integer(minimum: int, maximum: int = 10**18) -> Parser[int]:
    """Whole numbers from `minimum` to `maximum`."""

    def parse(raw: str) -> int:
        if not _INTEGER.fullmatch(raw):
            raise ValueError("must be a whole number")
        number = int(raw)
        if not minimum <= number <= maximum:
            wanted = f"at least {minimum}" if maximum == 10**18 else f"from {minimum} to {maximum}"
            raise ValueError(f"must be {wanted}")
        return number

    return parse


def decimal(raw: str) -> float:
    """A finite decimal number."""
    if not _DECIMAL.fullmatch(raw) or not math.isfinite(number := float(raw)):
        raise ValueError("must be a finite number")
    return number


def seconds(raw: str) -> float:
    """A duration in seconds, 0 or more; fractions are fine."""
    number = decimal(raw)
    if number < 0:
        raise ValueError("must be 0 or more seconds")
    return number


def positive(raw: str) -> float:
    """A number above 0: for intervals, which at 0 would never rest, and for bounds."""
    number = decimal(raw)
    if number <= 0:
        raise ValueError("must be more than 0")
    return number


def choice(*words: str, **synonyms: str) -> Parser[str]:
    """One of `words`, in any case; a synonym stands for the word it names."""

    def parse(raw: str) -> str:
        word = synonyms.get(raw.lower(), raw.lower())
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return parse


def _http(raw: str) -> SplitResult:
    try:
        parts = urlsplit(raw)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is not an address: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("must start with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user name or password")
    host = parts.hostname
    if not host or not _HOST.fullmatch(host) or any(len(label) > _LABEL_MAX for label in host.split(".")):
        raise ValueError("names no host that can be connected to")
    if port == 0:
        raise ValueError("must not have port 0")
    if "?" in raw or "#" in raw:
        raise ValueError("must not carry a query or a fragment")
    if not _PATH.fullmatch(parts.path):
        raise ValueError("must have a path of printable ASCII")
    return parts


def backend_url(raw: str) -> Backend:
    """`http://`, `https://` (either may carry a path prefix) or `unix:/path/of/a.sock`."""
    if raw.startswith("unix:"):
        path = raw[len("unix:") :]
        if not path.startswith("/") or not path.isprintable():
            raise ValueError("must name a socket file by its full path, as unix:/run/backend.sock")
        return Backend("unix", "localhost", 0, "", "/" + path.lstrip("/"))
    if not raw.startswith(("http://", "https://")):
        raise ValueError("must start with http://, https:// or unix:/")
    parts = _http(raw)
    assert parts.hostname is not None
    return Backend(parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme], parts.path.rstrip("/"))


def addresses(raw: str) -> tuple[str, ...]:
    """A comma list of http(s) addresses; final slashes are dropped."""
    found = [item.strip().rstrip("/") for item in raw.split(",") if item.strip()]
    if not found:
        raise ValueError("names no address")
    for item in found:
        try:
            _http(item)
        except ValueError as error:
            raise ValueError(f"has an address that {error}" if len(found) > 1 else str(error)) from None
    return tuple(found)


def hosts(raw: str) -> tuple[str, ...]:
    """A comma list of host names or addresses, each with a port where only that one is meant."""
    found = tuple(part.lower() for each in raw.split(",") if (part := each.strip()))
    for each in found:
        name, colon, port = each.rpartition(":")
        if not (_HOST.fullmatch(each) or (colon and _HOST.fullmatch(name) and port.isdigit())):
            raise ValueError("must be names of this worker, separated by commas")
    return found


def protocols(raw: str) -> frozenset[bytes]:
    """A comma list of protocol names, as an Upgrade field has them; case does not count."""
    names = [item.strip().lower() for item in raw.split(",") if item.strip()]
    for name in names:
        if not _PROTOCOL.fullmatch(name):
            raise ValueError("must be a comma list of protocol names, as websocket")
    return frozenset(name.encode("ascii") for name in names)


def benchmark(raw: str) -> str:
    """`module:function` or `/path/of/file.py:function`; whether it can be imported is found out when it is run."""
    place, _, function = raw.rpartition(":")
    is_file = place.endswith(".py") and place.isprintable()
    if not _FUNCTION.fullmatch(function) or "." in function or not (is_file or _FUNCTION.fullmatch(place)):
        raise ValueError("must be module:function or /path/file.py:function")
    return raw

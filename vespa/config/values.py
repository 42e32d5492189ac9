"""How the text of an environment variable becomes a value; each parser raises ValueError saying what is wrong."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from typing import Final, TypeVar

from attrs import frozen

from vespa.protocol.urls import BaseURL
from vespa.vast.credentials import LONGEST, is_key

Value = TypeVar("Value")
Parser = Callable[[str], Value]

_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
_PATH = re.compile(r"[!-~]*")
_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_FIELD_VALUE = re.compile(r"[!-~]+(?:[ \t]+[!-~]+)*")
_PROTOCOL = re.compile(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+")
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


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


def key(raw: str) -> str:
    """A key or token: what can stand in a header field."""
    if not is_key(raw):
        raise ValueError(f"must be printable ASCII without spaces, {LONGEST} characters at most")
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


NO_BOUND: Final = 10**18


@frozen
class Number:
    """A finite number within bounds: read from text, or checked where a program gives it. `unit` is documented."""

    least: float
    most: float = NO_BOUND
    unit: str = ""
    whole: bool = False
    above: bool = False
    """Whether `least` itself is too little."""

    def __call__(self, raw: str) -> float:
        """The number that a text says."""
        if not (_INTEGER if self.whole else _DECIMAL).fullmatch(raw):
            raise ValueError(self._kind)
        return self.check(int(raw) if self.whole else float(raw))

    def check(self, number: object) -> float:
        """The number itself. Raises ValueError for what is none, or is out of bounds."""
        if isinstance(number, bool) or not isinstance(number, int if self.whole else int | float):
            raise ValueError(self._kind)
        if not math.isfinite(number):
            raise ValueError(self._kind)
        if self.least <= number <= self.most and not (self.above and number == self.least):
            return number
        least = f"{'more than' if self.above else 'at least'} {self.least:.15g}"
        raise ValueError(f"must be {least}" + (f", {self.most:.15g} at most" if self.most < NO_BOUND else ""))

    @property
    def _kind(self) -> str:
        return f"must be a {'whole' if self.whole else 'finite'} number"


def whole(least: int, most: int = NO_BOUND, unit: str = "") -> Number:
    """Whole numbers within these bounds."""
    return Number(least, most, unit, whole=True)


seconds = Number(0, unit="seconds")
positive_seconds = Number(0, unit="seconds", above=True)
"""For intervals, which at 0 would never rest, and for bounds."""


def choice(*words: str, **synonyms: str) -> Parser[str]:
    """One of `words`, in any case; a synonym stands for the word it names."""

    def parse(raw: str) -> str:
        word = synonyms.get(raw.lower(), raw.lower())
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return parse


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


def hosts(raw: str) -> tuple[str, ...]:
    """A comma list of host names or addresses, each with a port where only that one is meant."""
    found = tuple(part.lower() for each in raw.split(",") if (part := each.strip()))
    for each in found:
        name, colon, port = each.rpartition(":")
        if not (_HOST.fullmatch(each) or (colon and _HOST.fullmatch(name) and port.isdigit())):
            raise ValueError("must be names of this worker, separated by commas")
    return found


def address(raw: str) -> str:
    """One http(s) address, without a final slash."""
    return server_url(raw).url


def addresses(raw: str) -> tuple[str, ...]:
    """A comma list of http(s) addresses."""
    found = tuple(address(item.strip()) for item in raw.split(",") if item.strip())
    if not found:
        raise ValueError("names no address")
    return found


def server_url(raw: str) -> BaseURL:
    """`http://` or `https://`, either of which may have a path prefix."""
    if raw.startswith("unix:"):
        raise ValueError("must begin with http:// or https://")
    return BaseURL.parse(raw)


def interface(raw: str) -> str:
    """The IP address of an interface to listen at; localhost is understood."""
    try:
        return str(ipaddress.ip_address("127.0.0.1" if raw.lower() == "localhost" else raw.strip("[]")))
    except ValueError:
        raise ValueError("must be an IP address of this machine, 0.0.0.0 for all of them") from None


def host_name(raw: str) -> str:
    """A host's name or address, without a port."""
    if not _HOST_NAME.fullmatch(raw):
        raise ValueError("must be a host's name, without a port")
    return raw.lower()


def origin(raw: str) -> str:
    """An origin as browsers write it: scheme and host in lower case, no default port, no path."""
    if "*" in raw:
        raise ValueError("must be whole origins: a `*` would let in every web page that its browser visits")
    if raw == "null":
        raise ValueError("no page is sure to be yours under this origin: any sandboxed frame and local file has it")
    found = _ORIGIN.fullmatch(raw)
    if found is None:
        raise ValueError("must be an origin such as http://localhost:3000 or app://obsidian.md, without a path")
    scheme, host, port = found[1].lower(), found[2].lower(), found[3] or ""
    return f"{scheme}://{host}" + ("" if port == {"http": ":80", "https": ":443"}.get(scheme) else port)

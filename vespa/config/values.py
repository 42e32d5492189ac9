"""Parsers, which make a value of the text of a setting. Each raises ValueError with the reason."""

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
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_BOOLEANS = {**dict.fromkeys(("true", "1", "yes", "on"), True), **dict.fromkeys(("false", "0", "no", "off"), False)}


def text(raw: str) -> str:
    """Any text without control characters."""
    if not raw.isprintable():
        raise ValueError("must not contain control characters")
    return raw


def _matching(pattern: str, wanted: str) -> Parser[str]:
    """Text that matches a pattern as a whole."""
    whole_text = re.compile(pattern, re.ASCII).fullmatch

    def parse(raw: str) -> str:
        if not whole_text(raw):
            raise ValueError(f"must be {wanted}")
        return raw

    return parse


field_value = _matching(r"[!-~]+([ \t]+[!-~]+)*", "one line of printable ASCII, such as: Bearer KEY")
path = _matching(r"/[!-\"$-~]*", "a path that starts with / and is printable ASCII")
"""A path at the backend, maybe with a query."""
benchmark = _matching(rf"(.*\.py|{_NAME}(\.{_NAME})*):{_NAME}", "module:function or /path/file.py:function")
"""Whether it can be imported shows only when it runs."""


def place_or(*names: str) -> Parser[str]:
    """One of `names`, or the place of a function, as of a benchmark."""

    def parse(raw: str) -> str:
        if raw in names:
            return raw
        try:
            return benchmark(raw)
        except ValueError as error:
            raise ValueError(f"must be {', '.join(names)}, or {str(error).removeprefix('must be ')}") from None

    return parse


protocol = _matching(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+", "the name of a protocol, such as websocket")
_host_name = _matching(r"[A-Za-z0-9._-]+", "a host's name, without a port")


def key(raw: str) -> str:
    """A key or token: what can stand in a header field."""
    if not is_key(raw):
        raise ValueError(f"must be printable ASCII without spaces, {LONGEST} characters at most")
    return raw


def path_or_off(raw: str) -> str:
    """A path, or the word "off", which is no path."""
    return "" if raw.lower() == "off" else path(raw)


def port_or_off(raw: str) -> int:
    """A port, or 0 for the word "off", which is none."""
    return 0 if raw.lower() == "off" else int(whole(0, 65535)(raw))


def endpoint_or_off(raw: str) -> str:
    """A Twisted endpoint string, or the word "off", which is none. Listening shows whether it can be used."""
    if raw.lower() in ("off", ""):
        return ""
    if ":" not in raw:
        raise ValueError("must be a Twisted endpoint string, such as tcp:9464:interface=127.0.0.1, or off")
    return raw


def boolean(raw: str) -> bool:
    """true/false, 1/0, yes/no, on/off, in any case."""
    if raw.lower() not in _BOOLEANS:
        raise ValueError("must be true or false (or 1/0, yes/no, on/off)")
    return _BOOLEANS[raw.lower()]


NO_BOUND: Final = math.inf


@frozen
class Number:
    """Reads a finite number within bounds. `unit` is for the documentation."""

    least: float
    most: float = NO_BOUND
    unit: str = ""
    whole: bool = False
    above: bool = False
    """Whether the number must be more than `least`."""

    def __call__(self, raw: str) -> float:
        """The number in a text."""
        if not (_INTEGER if self.whole else _DECIMAL).fullmatch(raw) or math.isinf(float(raw)):
            raise ValueError(f"must be a {'whole' if self.whole else 'finite'} number")
        number = int(raw) if self.whole else float(raw)
        if not self.least <= number <= self.most or (self.above and number == self.least):
            least = f"{'more than' if self.above else 'at least'} {self.least:.15g}"
            raise ValueError(f"must be {least}" + (f", {self.most:.15g} at most" if self.most < NO_BOUND else ""))
        return number


def whole(least: int, most: float = NO_BOUND, unit: str = "") -> Number:
    """Whole numbers within these bounds."""
    return Number(least, most, unit, whole=True)


seconds = Number(0, unit="seconds")
positive_seconds = Number(0, unit="seconds", above=True)
"""For intervals and bounds, which must not be 0."""


def choice(*words: str, **synonyms: str) -> Parser[str]:
    """One of `words`, in any case; a synonym stands for the word it names."""

    def parse(raw: str) -> str:
        word = synonyms.get(raw.lower(), raw.lower())
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return parse


def host(raw: str) -> str:
    """A host's name or address, with or without a port."""
    name, colon, port = raw.rpartition(":")
    if not (_HOST.fullmatch(raw) or (colon and _HOST.fullmatch(name) and port.isdigit())):
        raise ValueError("must be a name or an address, and may have a port")
    return raw.lower()


def address(raw: str) -> str:
    """One http(s) address, without a final slash."""
    if raw.startswith("unix:"):
        raise ValueError("must begin with http:// or https://")
    return BaseURL.parse(raw).url


def interface(raw: str) -> str:
    """The IP address of an interface to listen at, or localhost."""
    try:
        return str(ipaddress.ip_address("127.0.0.1" if raw.lower() == "localhost" else raw.strip("[]")))
    except ValueError:
        raise ValueError("must be an IP address of this machine, 0.0.0.0 for all of them") from None


def host_name(raw: str) -> str:
    """A host's name or address, without a port."""
    return _host_name(raw).lower()


def origin(raw: str) -> str:
    """An origin as browsers write it: scheme and host in lower case, no default port, no path."""
    if "*" in raw:
        raise ValueError("must be a whole origin: `*` would allow every web page")
    if raw == "null":
        raise ValueError("must not be null: sandboxed frames and local files of any page have this origin")
    found = _ORIGIN.fullmatch(raw)
    if found is None:
        raise ValueError("must be an origin such as http://localhost:3000 or app://obsidian.md, without a path")
    scheme, host, port = found[1].lower(), found[2].lower(), found[3] or ""
    return f"{scheme}://{host}" + ("" if port == {"http": ":80", "https": ":443"}.get(scheme) else port)

"""Text becomes values, or a sentence about what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.config import values
from vespa.config.values import Number, choice, whole

PARSERS: dict[str, Callable[[str], Any]] = {
    name: getattr(values, name)
    for name in (
        "text field_value key path path_or_off boolean seconds positive_seconds benchmark protocol host address "
        "interface host_name origin"
    ).split()
}


class ValueTests(SynchronousTestCase):
    def good(self, parse: Callable[[str], Any], **expected: Any) -> None:
        for raw, value in expected.items():
            self.assertEqual(parse(raw), value)

    def refused(self, parse: Callable[[str], Any], *texts: str) -> None:
        for raw in texts:
            said = str(self.assertRaises(ValueError, parse, raw))
            self.assertNotIn("\n", said)

    def test_place_or(self) -> None:
        """A known name, or the place of a function."""
        parse = values.place_or("comfyui", "sglang")
        self.good(parse, **{"comfyui": "comfyui", "a.b:c": "a.b:c", "/a b.py:c": "/a b.py:c"})
        self.refused(parse, "", "ComfyUI", "vllm", "a:b:c")
        said = str(self.assertRaises(ValueError, parse, "vllm"))
        self.assertEqual(said, "must be comfyui, sglang, or module:function or /path/file.py:function")

    def test_text(self) -> None:
        """Text has no control characters."""
        self.good(values.text, **{"a b": "a b", "ключ": "ключ"})
        self.refused(values.text, "a\nb", "\x1b[2J", "\x7f")

    def test_paths(self) -> None:
        """A path is printable ASCII and begins with /; a query may follow, a fragment not. `off` is none."""
        self.good(values.path, **{"/health": "/health", "/a?b=c": "/a?b=c", "/": "/"})
        self.refused(values.path, "health", "/a b", "/é", "/a#b", "", "off")
        self.good(values.path_or_off, **{"OFF": "", "/x": "/x"})

    def test_ports(self) -> None:
        """A port, or off, which 0 is, too."""
        self.good(values.port_or_off, **{"3001": 3001, "OFF": 0, "0": 0, "65535": 65535})
        self.refused(values.port_or_off, "65536", "-1", "", "a", "80.5", "on")

    def test_numbers(self) -> None:
        """A number is within its bounds, which the message names; a whole one has no fraction."""
        self.good(whole(0, 9), **{"0": 0, "9": 9})
        self.good(Number(-1, 1), **{"-1": -1.0, "+.5": 0.5, "1e0": 1.0})
        self.good(Number(0), **{"1e300": 1e300, "9" * 19: 1e19})
        for parse, raw, said in (
            (whole(1), "0", "must be at least 1"),
            (whole(0), "9" * 19, "must be a whole number"),
            (whole(1, 65535), "65536", "must be at least 1, 65535 at most"),
            (whole(0), "1.0", "must be a whole number"),
            (Number(0, above=True), "0", "must be more than 0"),
            (Number(0, 10, above=True), "11", "must be more than 0, 10 at most"),
            (Number(0), "1e999", "must be a finite number"),
            (Number(0), "nan", "must be a finite number"),
            (Number(0), "٣", "must be a finite number"),
        ):
            self.assertEqual(str(self.assertRaises(ValueError, parse, raw)), said)

    def test_choices(self) -> None:
        """A choice is accepted in any case, and by its synonyms."""
        self.good(choice("warn", "info", warning="warn"), WARNING="warn", Info="info")
        self.refused(choice("warn", "info"), "loud", "")

    def test_addresses(self) -> None:
        """An address is http or https, and is taken without a final slash and without the scheme's own port."""
        self.good(values.address, **{"http://A:80/": "http://a", "https://a:1/b/": "https://a:1/b"})
        self.refused(values.address, "a", "ftp://a", "unix:/a", "http://a,http://b", "http://u:p@a", "http://a/?b", "")

    def test_hosts(self) -> None:
        """A host may have a port if the setting allows it; its case does not matter."""
        self.good(values.host, **{"Box.example": "box.example", "a:8443": "a:8443", "::1": "::1"})
        self.refused(values.host, "a b", "x:y", "http://a", "a/")
        self.good(values.host_name, **{"A.local": "a.local"})
        self.refused(values.host_name, "a:80", "", "a/b")
        self.good(values.interface, **{"localhost": "127.0.0.1", "[::1]": "::1"})
        self.refused(values.interface, "example.org", "")

    def test_protocols(self) -> None:
        """A protocol is a token, as in an Upgrade field."""
        self.good(values.protocol, websocket="websocket", h2c="h2c")
        self.refused(values.protocol, "", "a/b", "a b")

    @given(st.sampled_from(sorted(PARSERS)), st.text(max_size=30))
    def test_any_text(self, name: str, raw: str) -> None:
        """Any text gives a value or a ValueError; a value's own text gives the value again."""
        parse = PARSERS[name]
        try:
            found = parse(raw)
        except ValueError:
            return
        if isinstance(found, str) and found:
            self.assertEqual(parse(found), found)

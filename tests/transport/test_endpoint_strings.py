"""What an endpoint string says."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.transport.endpoint_strings import interface_of, is_local, kind_of, port_of, split


class StringTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """Positions, names and quotes are Twisted's."""
        self.assertEqual(split(r"tcp:80:interface=\:\:1:a=b=c"), (["tcp", "80"], {"interface": "::1", "a": "b=c"}))
        self.assertEqual(split(""), ([""], {}))
        self.assertEqual(kind_of("unix:/run/a.sock"), "unix")

    def test_interface(self) -> None:
        """The address stands at its name or at its position."""
        for description, expected in (
            ("tcp:80", ""),
            ("tcp:80:interface=127.0.0.1", "127.0.0.1"),
            ("tcp:80:10.0.0.7:50", "10.0.0.7"),
            (r"tcp6:80:50:\:\:1", "::1"),
            ("ssl:443:key.pem:cert.pem", ""),
            ("unix:/run/a.sock", ""),
        ):
            self.assertEqual(interface_of(description), expected, description)

    def test_port(self) -> None:
        """The number stands at its name or at its position; some have none."""
        for description, expected in (
            ("tcp:80", 80),
            ("tcp:interface=127.0.0.1:port=81", 81),
            ("tcp6:99999999", 99999999),
            ("ssl:443:key.pem", 443),
            ("unix:/run/a.sock", None),
            ("tcp:x", None),
            ("tcp", None),
        ):
            self.assertEqual(port_of(description), expected, description)

    def test_local(self) -> None:
        """A port is local only if its string shows that other machines cannot reach it."""
        for description, expected in (
            ("tcp:80:interface=127.0.0.1", True),
            ("tcp:80:127.0.0.1", True),
            ("tcp:80:interface=127.9.9.9", True),
            (r"tcp:80:interface=\:\:1", True),
            (r"tcp6:80:interface=\:\:1", True),
            ("tcp:80:interface=localhost", True),
            ("ssl:80:interface=127.0.0.1:privateKey=a", True),
            ("unix:/run/a.sock", True),
            ("tcp:80", False),
            ("tcp:80:interface=0.0.0.0", False),
            ("tcp:80:interface=10.0.0.7", False),
            ("tcp:80:interface=localhost.example", False),
            ("tcp6:80", False),
            ("ssl:80", False),
            ("systemd:domain=INET:index=0", False),
            ("fd:3:interface=127.0.0.1", False),
            ("", False),
        ):
            self.assertEqual(is_local(description), expected, description)

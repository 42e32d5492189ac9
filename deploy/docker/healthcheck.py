#!/usr/local/bin/python -IS
"""The image's health check: exit code 0 if the admin port of the worker or the client answers /healthz.

It needs no token there. Docker starts this every few seconds, so it imports next to nothing.
"""

import os
import socket
import sys

REQUEST = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"
SECONDS = 3.0
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # who listens everywhere is asked there


def places(environ):
    """Where the admin ports of worker and client are: one of the two runs here. None if they are switched off."""
    for name, default in (("VESPA_ADMIN_LISTEN", "tcp:9464"), ("VESPA_CLIENT_ADMIN_LISTEN", "tcp:9465")):
        # A Twisted endpoint string, such as tcp:port=9464:interface=10.0.0.1. A colon in a value is escaped.
        kind, *parts = (environ.get(name) or default).replace("\\:", "\0").split(":")
        parts = [part.replace("\0", ":") for part in parts]
        named = dict(part.split("=", 1) for part in parts if "=" in part)
        first = next((part for part in parts if "=" not in part), "")
        if kind == "unix":
            yield kind, named.get("address", first)
        elif kind in ("tcp", "tcp6", "ssl") and named.get("port", first).isdigit():
            interface = named.get("interface") or ("::" if kind == "tcp6" else "0.0.0.0")
            yield kind, (LOOPBACK.get(interface, interface), int(named.get("port", first)))


def connect(kind, where):
    """A connection to that place. Raises OSError."""
    if kind == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(SECONDS)
        connection.connect(where)
        return connection
    connection = socket.create_connection(where, SECONDS)
    if kind != "ssl":
        return connection
    import ssl  # seldom needed, and slow to import

    # The certificate may be for any name, and nothing secret is sent.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)


def answers(kind, where):
    """Whether a process answers there as it should."""
    try:
        with connect(kind, where) as connection:
            connection.sendall(REQUEST)
            return b" 200 " in connection.recv(64)
    except (OSError, OverflowError):  # the latter for a port that no system has
        return False


def main():
    """The exit code."""
    found = list(places(os.environ))
    if any(answers(*each) for each in found):
        return 0
    shown = [where if kind == "unix" else "port {1} of {0}".format(*where) for kind, where in found]
    print("no answer to /healthz at", " or ".join(shown) or "any port: the admin ports are off")
    return 1


if __name__ == "__main__":
    sys.exit(main())

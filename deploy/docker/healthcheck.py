#!/usr/local/bin/python -IS
"""The image's health check: exit code 0 if the admin port of the worker or the client answers /healthz.

It needs no token there. Docker starts this every few seconds, so it imports next to nothing.
"""

import os
import socket
import sys

REQUEST = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"
SECONDS = 3.0


def ports(environ):
    """The admin ports of the worker and the client: one of the two runs here. None if they are switched off."""
    for name, default in (("VESPA_ADMIN_LISTEN", "tcp:9464"), ("VESPA_CLIENT_ADMIN_LISTEN", "tcp:9465")):
        kind, _, rest = (environ.get(name) or default).partition(":")
        number = rest.partition(":")[0].rpartition("=")[2]  # tcp:9464:interface=… or tcp:port=9464
        if kind == "tcp" and number.isdigit():
            yield int(number)


def answers(port):
    """Whether a process answers there as it should."""
    try:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
            connection.sendall(REQUEST)
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def main():
    """The exit code."""
    found = list(ports(os.environ))
    if any(answers(port) for port in found):
        return 0
    print("no answer to /healthz at port", " or ".join(map(str, found)) or "(none: the admin ports are off)")
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""A server on loopback that ends its connections as it is told, in threads of its own, and counts what it worked on."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from time import sleep

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"

Serve = Callable[["Closer", socket.socket, int], None]
"""What is done on the n-th connection, until it is over."""


class Closer:
    """Serves each connection by `serve`. `worked` counts the bodies of requests that were read whole."""

    def __init__(self, serve: Serve, response: bytes = OK, receive_buffer: int = 0) -> None:
        self.response = response
        self.worked: Counter[bytes] = Counter()
        self.connections = 0
        self._serve = serve
        self._listening = socket.socket()
        if receive_buffer:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(64)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listening.getsockname()
        return host, port

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            if self._listening.fileno() == -1:
                connection.close()
                return
            connection.settimeout(10)
            self.connections += 1
            thread = threading.Thread(target=self._run, args=(connection, self.connections), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, connection: socket.socket, number: int) -> None:
        with connection:
            try:
                self._serve(self, connection, number)
            except OSError:
                pass

    def read(self, connection: socket.socket) -> bool:
        """Read one request whole and count it; False when the peer closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            some = connection.recv(65536)
            if not some:
                return False
            data += some
        head, _, body = data.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
        while len(body) < length:
            body += connection.recv(65536)
        self.worked[body or head.split(b" ")[1]] += 1
        return True

    def answer(self, connection: socket.socket) -> bool:
        """Read one request and answer it."""
        if not self.read(connection):
            return False
        connection.sendall(self.response)
        return True

    def stop(self) -> None:
        """End it all; the connections' peers have closed theirs."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)


def reset(connection: socket.socket) -> None:
    """Close with a reset whatever was read."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closes_after(seconds: float, *, shut_down: bool) -> Serve:
    """Close so long after each response; with `shut_down` first both ways, as llama.cpp does."""

    def serve(server: Closer, connection: socket.socket, number: int) -> None:
        if server.answer(connection):
            sleep(seconds)
            if shut_down:
                connection.shutdown(socket.SHUT_RDWR)
                sleep(0.0002)

    return serve

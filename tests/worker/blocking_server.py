"""An HTTP server in a thread, for code that waits for responses without a reactor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer

from twisted.trial.unittest import SynchronousTestCase

Response = tuple[int, bytes, Mapping[str, str]]
"""A status, a body, and further header fields."""


def serve(test: SynchronousTestCase, respond: Callable[[str, bytes], Response]) -> str:
    """
    Serve POST requests until the end of the test, and return the base URL.

    `respond` gets the target and the body. With the status 0 the body alone is sent, without a head.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            status, body, fields = respond(self.path, content)
            if not status:
                self.wfile.write(body)
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **fields}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    test.addCleanup(stop)
    return f"http://127.0.0.1:{server.server_address[1]}"

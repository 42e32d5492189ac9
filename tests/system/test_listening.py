"""Laws of where a worker listens, and of what it says when it cannot."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectionRefusedError

from tests.processes import until
from tests.system.case import BY_TAC, SystemCase
from tests.system.certificates import Pair
from tests.system.peer import Peer, connect, request, way
from vespa.simulator.child import Child
from vespa.simulator.launch import free_port

ELSEWHERE = "127.0.0.2"
"""An address of this machine that a port on 127.0.0.1 alone does not answer at."""


class InterfaceTests(SystemCase):
    async def ping(self, peer: Peer) -> None:
        peer.send(request("GET", "/ping"))
        self.assertEqual(bytes((await peer.answer()).body), b"pong")
        peer.cut()

    async def test_unsecured(self) -> None:
        """An unsecured worker can be reached from this machine alone, and passes plain requests."""
        worker = await self.unsecured()
        peer = await self.connect()
        peer.send(request("POST", "/echo?a=1", b"plain", "Authorization: Bearer mine"))
        self.assertEqual(bytes((await peer.answer()).body), b"plain")
        (asked,) = self.backend.on("/echo")
        self.assertEqual((asked.target, asked.request.values(b"authorization")), ("/echo?a=1", [b"Bearer mine"]))
        with self.assertRaises(ConnectionRefusedError):
            await connect(way(self.port, ELSEWHERE))
        await self.end_well(worker)
        self.assertEqual(self.backend.errors, [])

    async def test_no_pages(self) -> None:
        """A web page gets nothing from an unsecured worker, by whatever name; the backend's own page does."""
        worker = await self.unsecured(VESPA_ALLOWED_HOSTS="box.example, gate:8443")
        mine = f"localhost:{self.port}"
        for code, host, *lines in (
            ("foreign_host", "evil.example", "Content-Type: text/plain"),
            ("foreign_host", "gate:1"),
            ("foreign_origin", mine, "Content-Type: text/plain", "Origin: https://evil.example"),
            ("foreign_origin", mine, "Origin: null"),
            ("cross_site", mine, "Sec-Fetch-Site: cross-site"),
            ("", mine, f"Origin: http://{mine}", "Sec-Fetch-Site: same-origin"),
            ("", "box.example:1", "Origin: http://box.example:1"),
            ("", "gate:8443"),
            ("", f"[::1]:{self.port}"),
        ):
            peer = await self.connect()
            fields = "".join(f"{line}\r\n" for line in lines)
            peer.send(f"POST /echo HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\n{fields}\r\nx".encode())
            answer = await peer.answer()
            self.assertEqual(answer.status, 403 if code else 200, (host, lines))
            if code:
                self.assertIn(code.encode(), bytes(answer.body))
        self.assertEqual(len(self.backend.on("/echo")), 4)
        await self.end_well(worker)

    async def test_unsecured_public(self) -> None:
        """VESPA_UNSECURED_PUBLIC opens it to the network, by .tac as well."""
        worker = await self.unsecured(*BY_TAC, VESPA_UNSECURED_PUBLIC="true")
        await self.ping(await connect(way(self.port, ELSEWHERE)))
        await self.end_well(worker)

    async def test_secured(self) -> None:
        """A secured worker listens at every address."""
        worker = await self.start_worker()
        await self.ping(await connect(way(self.port, ELSEWHERE)))
        await self.end_well(worker)

    async def test_whole_endpoint(self) -> None:
        """VESPA_LISTEN is taken as it is, in place of port and interface."""
        port = free_port()
        worker = await self.start_worker(VESPA_LISTEN=f"tcp:{port}:interface={ELSEWHERE}")
        await self.ping(await connect(way(port, ELSEWHERE)))
        for other in (way(port), way(self.port)):
            with self.assertRaises(ConnectionRefusedError):
                await connect(other)
        await self.end_well(worker)

    async def test_whole_tls_endpoint(self) -> None:
        """VESPA_LISTEN may be TLS, with paths of its own."""
        pair, port = Pair(self.folder), free_port()
        listen = f"ssl:{port}:privateKey={pair.key_file}:certKey={pair.cert_file}:interface=127.0.0.1"
        worker = await self.start_worker(VESPA_LISTEN=listen)
        await self.ping(await connect(way(port, trust=pair.certificate)))
        await self.end_well(worker)

    async def test_unix_socket(self) -> None:
        """VESPA_LISTEN may be a unix socket: requests pass, their hang-ups too, and its file goes with the worker."""
        path = os.path.join(self.folder, "worker.sock")
        worker = await self.start_worker(VESPA_LISTEN=f"unix:{path}")
        peer = await connect(UNIXClientEndpoint(reactor, path))
        body = bytes(range(256)) * 2000
        peer.send(self.envelope("/echo", b'"%b"' % body.hex().encode(), self.assign()))
        self.assertEqual(len((await peer.answer()).body), 2 * len(body) + 2)
        peer.cut()
        await self.told(worker, Success=1)
        await self.end_well(worker)
        self.assertFalse(os.path.exists(path))


class TakenTests(SystemCase):
    async def check(self, *arguments: str) -> None:
        await self.start_around()
        with socket.create_server(("0.0.0.0", 0)) as taken:
            self.port = taken.getsockname()[1]
            worker = self.launch(*arguments)
            self.assertEqual(await self.until_exit(worker), 1)
        why = f"cannot listen on 0.0.0.0 port {self.port}: Address already in use; another program listens there"
        (line,) = [line for line in worker.lines if why in line]
        self.assertIn("VESPA_WORKER_PORT", line)
        self.assertIn(" critical ", line)
        self.assertNotIn("Traceback", worker.text)
        self.assertIn(why, self.reports[-1].error_msg)
        self.assertEqual(self.reports[-1].max_perf, 0.0)

    async def test_plugin(self) -> None:
        """A port that is taken is exit code 1 and a message that names it."""
        await self.check()

    async def test_tac(self) -> None:
        """By the .tac, too."""
        await self.check(*BY_TAC)

    async def refused(self, listen: str, why: str) -> None:
        self.backend_url = "http://127.0.0.1:9"
        await self.deployed.start_autoscaler()
        worker = self.launch(VESPA_LISTEN=listen)
        self.assertEqual(await self.until_exit(worker), 1)
        self.assertIn(f"cannot listen on {listen}: {why}", worker.text)
        self.assertNotIn("Traceback", worker.text)
        self.assertIn(why, self.reports[-1].error_msg)

    async def test_no_such_address(self) -> None:
        """The same for an address that this machine does not have."""
        await self.refused("tcp:0:interface=192.0.2.1", "Cannot assign requested address; this machine has no such")

    async def test_unix_socket_in_use(self) -> None:
        """The same for a unix socket on which another program listens, or whose folder is missing."""
        path = os.path.join(self.folder, "in-use.sock")
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(path)
            taken.listen()
            await self.refused(f"unix:{path}", "Address already in use; another program listens there")

    async def test_no_socket(self) -> None:
        """The same for a unix socket in whose place another file is; it stays."""
        path = Path(self.folder, "file")
        path.write_text("kept")
        await self.refused(f"unix:{path}", f"Address already in use; {path} is no socket: remove it, or")
        self.assertEqual(path.read_text(), "kept")

    async def test_no_such_folder(self) -> None:
        """The same for a unix socket whose folder is missing."""
        await self.refused(f"unix:{self.folder}/no/a.sock", "No such file or directory; its folder does not exist")


class FailureReportTests(SystemCase):
    async def check(self, message: str, **settings: str) -> None:
        await self.start_around()
        worker = self.launch(**settings)
        await self.until_worker(worker, lambda: self.reports, "a report")
        self.assertIn(message, self.reports[0].error_msg)
        self.assertEqual((self.reports[0].loadtime, self.reports[0].max_perf), (0.0, 0.0))
        await self.until_line(worker, re.escape(message))
        with self.assertRaises(ConnectionRefusedError):
            await connect(way(self.port))
        worker.signal("TERM")
        self.assertEqual(await self.until_exit(worker, 20.0), 1)
        self.assert_clean_log(worker)

    async def test_no_certificate(self) -> None:
        """A worker without its certificate says so to the autoscaler until it is stopped, and that is no clean end."""
        missing = os.path.join(self.folder, "none.crt")
        await self.check(missing, VESPA_USE_SSL="true", VESPA_SSL_CERT_FILE=missing)

    async def test_bad_certificate(self) -> None:
        """The same for an invalid certificate."""
        pair = Pair(self.folder)
        with open(pair.cert_file, "w") as file:
            file.write("<html>no</html>")
        files = {"VESPA_SSL_CERT_FILE": pair.cert_file, "VESPA_SSL_KEY_FILE": pair.key_file}
        await self.check(pair.cert_file, VESPA_USE_SSL="true", **files)

    async def test_bad_endpoint(self) -> None:
        """The same for an invalid endpoint string."""
        await self.check("tpc:1", VESPA_LISTEN="tpc:1")

    async def test_no_such_port(self) -> None:
        """The same for a port that no machine has."""
        await self.check("a port's number is 65535 at most; write it like tcp:3000", VESPA_LISTEN="tcp:99999")

    async def test_bad_roots(self) -> None:
        """The same for invalid roots of the backend."""
        roots = os.path.join(self.folder, "benchmark")
        await self.check("VESPA_BACKEND_CA_FILE", VESPA_BACKEND_CA_FILE=roots)


class StartTests(SystemCase):
    async def test_signal_at_once(self) -> None:
        """A signal while the worker is still loading is a clean end, too."""
        await self.start_around()
        self.backend.healthy = False
        worker: Child = self.launch()
        await self.until_line(worker, "listening on")
        await until(lambda: self.backend.probes, what="a probe")
        await self.end_well(worker)

"""What is measured: worker and client as real processes, signed and with reports, and nginx beside them."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define

from perf.content import QUESTION, body_for
from perf.load import MARK
from perf.processes import Process, ProcessGroup, resident, tree
from tests.simulator_support.authority import Authority
from vespa.simulator.launch import free_port, worker_command, worker_environment
from vespa.simulator.signing import Signer, body_envelope, query_envelope

READY_SECONDS = 40.0
NGINX = """
{user} daemon off; worker_processes 1; worker_rlimit_nofile 16384; pid {folder}/pid; error_log stderr;
events {{ worker_connections 16384; }}
http {{
    access_log off; client_max_body_size 0; keepalive_requests 1000000; keepalive_timeout 300s;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
    fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    upstream backend {{ server {backend}; keepalive 1024; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port} {tls} backlog=4096; ssl_certificate {folder}/crt; ssl_certificate_key {folder}/key;
        location / {{
            proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffering off; proxy_request_buffering off;
        }}
    }}
}}
"""


async def benchmark(backend_url: str, session: object) -> float:
    """The worker's benchmark: the backend is never what a request waits for."""
    return 1e9


class NotReady(Exception):
    """A proxy did not come up; says why, with its log."""


@define
class Proxy:
    """A proxy that runs. `assignment` is what signs a request to it, None where nothing is signed."""

    name: str
    port: int
    tls: bool
    process: Process
    assignment: dict[str, Any] | None = None
    behind: Process | None = None
    idle_mib: float = 0.0

    @property
    def pids(self) -> list[int]:
        """Its processes, and those of a proxy of ours behind it."""
        return tree(self.process.pid) + (tree(self.behind.pid) if self.behind is not None else [])

    def request(self, path: str) -> str:
        """The request for a path, up to its body where that is large; signed in its JSON, or in the query."""
        expected, body = body_for(path), ""
        if expected is not None and expected.unit is QUESTION:
            body = (QUESTION if self.assignment is None else body_envelope(self.assignment, QUESTION)).decode()
        elif self.assignment is not None:
            path += "?" + query_envelope(self.assignment)
        length = len(body) or (expected.size if expected is not None else 0)
        lines = [f"{'POST' if length else 'GET'} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "User-Agent: perf"]
        if length:
            kind = "application/json" if body else "application/octet-stream"
            lines += [f"Content-Type: {kind}", f"Content-Length: {length}"]
        return "\r\n".join(lines) + "\r\n\r\n" + body

    def is_up(self) -> bool:
        """Whether a request for the backend's health comes back well."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as plain:
                with context.wrap_socket(plain) if self.tls else plain as sock:
                    sock.sendall(self.request("/health").encode())
                    return sock.recv(4096)[9:12] == b"200"
        except OSError:
            return False


class ProxySetup:
    """The backend, and the proxies before it."""

    def __init__(
        self,
        processes: ProcessGroup,
        tls: bool,
        profile: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """
        Start the backend; have a key and a certificate made.

        `profile`: where the worker's cProfile goes. `settings`: the worker's, beside those it needs.
        """
        self._settings = settings or {}
        self._processes, self._tls, self._folder = processes, tls, processes.folder
        profiling = (f"--profile={profile.absolute()}", "--profiler=cprofile", "--savestats") if profile else ()
        self._worker = worker_command(*profiling, "vespa")
        self._signer = Signer()
        authority = Authority(time.time())
        key, certificate = authority.issue("127.0.0.1")
        folder, root = self._folder, authority.root
        for name, pem in (("key", key), ("crt", certificate), ("root", root), ("public", self._signer.pem)):
            (folder / name).write_bytes(pem)
        backend = processes.start(
            "backend", [sys.executable, "-m", "perf.backend", f"{folder}/public", f"{folder}/assignment"]
        )
        assert backend.stdout is not None
        self._backend = f"127.0.0.1:{backend.stdout.readline().strip()}"
        self._itself = backend

    def start(self, name: str) -> Proxy:
        """Start a proxy by its name; it has passed a request on when this returns. Raises NotReady."""
        proxy = {"nginx": self._nginx, "vespa": self._vespa, "chain": self._chain, "direct": self._direct}[name]()
        deadline = time.monotonic() + READY_SECONDS
        while not proxy.is_up():
            if proxy.process.poll() is not None or time.monotonic() > deadline:
                raise NotReady(f"{name} did not start:\n{self._processes.log(name)}")
            time.sleep(0.1)
        proxy.idle_mib = resident(proxy.pids)
        return proxy

    def _direct(self) -> Proxy:
        return Proxy("direct", int(self._backend.partition(":")[2]), False, self._itself)

    def _chain(self) -> Proxy:
        """A client before a worker of its own; with TLS, that is what they speak to each other."""
        worker = self._vespa()
        (self._folder / "assignment").write_text(json.dumps(worker.assignment))
        port = free_port()
        options = ["--endpoint", "perf", "--port", str(port), "--autoscaler-url", f"http://{self._backend}"]
        argv = [sys.executable, "-m", "vespa.cli", "client", *options, "--worker-ca", f"{self._folder}/root"]
        key = {"VAST_API_KEY": "perf-endpoint-key"}
        process = self._processes.start("chain", argv, proxy=True, environment=key)
        return Proxy("chain", port, False, process, behind=worker.process)

    def _vespa(self) -> Proxy:
        port, at = free_port(), f"http://{self._backend}"
        environment = {
            **worker_environment(
                port=port, backend_url=at, report_addr=at, cache_file="/dev/null", benchmark=f"{__name__}:benchmark"
            ),
            "VESPA_USE_SSL": str(self._tls).lower(),
            "VESPA_SSL_CERT_FILE": f"{self._folder}/crt",
            "VESPA_SSL_KEY_FILE": f"{self._folder}/key",
            "VESPA_HEAD_TIMEOUT": "60",  # thousands of connections are made before the first of them is used
            **self._settings,
        }
        process = self._processes.start("vespa", self._worker, proxy=True, environment=environment)
        url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return Proxy("vespa", port, self._tls, process, self._signer.assignment(url, request_idx=int(MARK)))

    def _nginx(self) -> Proxy:
        port, file = free_port(), self._folder / "nginx.conf"
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        tls = "ssl" if self._tls else ""
        file.write_text(NGINX.format(user=user, folder=self._folder, backend=self._backend, port=port, tls=tls))
        process = self._processes.start("nginx", [nginx() or "nginx", "-c", str(file)], proxy=True)
        return Proxy("nginx", port, self._tls, process)


def nginx() -> str | None:
    """Where nginx is installed, which is often not on a user's path."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

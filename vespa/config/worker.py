"""The worker's settings: its variables, and the values that follow from them."""

from __future__ import annotations

from attrs import frozen

from vespa.config.worker_variables import WorkerVariables
from vespa.protocol.urls import BaseURL
from vespa.vast.status_report import Identity

BACKLOG = 1024  # connections that may wait to be accepted; Twisted's 50 are too few


@frozen(kw_only=True)
class WorkerSettings(WorkerVariables):
    """What the worker is told, and what follows from it."""

    @property
    def backend_url(self) -> BaseURL | None:
        """The backend; the first of several. None if there is none."""
        return self.backend_urls[0] if self.backend_urls else None

    @property
    def backend_names(self) -> str:
        """The URLs of all backends, for people; "" if there is none."""
        return ", ".join(backend.url for backend in self.backend_urls)

    @property
    def secured(self) -> bool:
        """Whether requests must be signed."""
        return not self.unsecured

    @property
    def tls(self) -> bool:
        """Whether the worker adds TLS to its port."""
        return self.use_ssl and not self.listen

    @property
    def public_url(self) -> str:
        """The URL of this worker for clients; "" if Vast has not set it."""
        if not self.public_ipaddr or self.public_port is None:
            return ""
        host = f"[{self.public_ipaddr}]" if ":" in self.public_ipaddr else self.public_ipaddr
        return f"{'https' if self.use_ssl else 'http'}://{host}:{self.public_port}"

    @property
    def identity(self) -> Identity | None:
        """The worker's identity in reports; None without reports."""
        if self.container_id is None or not self.master_token:
            return None
        return Identity(
            id=self.container_id, mtoken=self.master_token, version=self.report_version, url=self.public_url
        )

    @property
    def report_addresses(self) -> tuple[str, ...]:
        """The autoscaler's addresses, in the order to try; none without reports."""
        return self.report_addr if self.identity is not None else ()

    @property
    def backend_connection_limit(self) -> int:
        """Maximum of connections to a backend, which is one host; 0: no limit."""
        limits = [limit for limit in (self.connection_limit, self.connection_limit_per_host) if limit]
        return min(limits, default=0)

    @property
    def concurrency(self) -> int:
        """Maximum of requests at once at a backend; 0: no limit."""
        return self.max_concurrency if self.allow_parallel else 1

    @property
    def session_port(self) -> int:
        """The port at which the backend may end sessions; 0: none."""
        if not self.max_sessions:
            return 0
        port = self.worker_port + 1 if self.http_port is None else self.http_port
        return port if port <= 65535 else 0

    @property
    def interface(self) -> str:
        """The address to listen on without VESPA_LISTEN."""
        return "0.0.0.0" if self.secured or self.unsecured_public else "127.0.0.1"

    @property
    def endpoint(self) -> str:
        """The Twisted endpoint string to listen on."""
        if self.listen:
            return self.listen
        where = f"port={self.worker_port}:interface={self.interface}:backlog={BACKLOG}"
        if not self.use_ssl:
            return f"tcp:{where}"
        return f"ssl:{where}:privateKey={_quoted(self.ssl_key_file)}:certKey={_quoted(self.ssl_cert_file)}"


def _quoted(argument: str) -> str:
    # In an endpoint string ":" separates arguments and "\" quotes.
    return argument.replace("\\", "\\\\").replace(":", "\\:")

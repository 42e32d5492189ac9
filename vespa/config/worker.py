"""Every setting of the worker, all of them environment variables, and values that follow from them."""

from __future__ import annotations

from functools import partial

from attrs import frozen

from vespa.accounting.replay_guard import ReplayMode
from vespa.config.schema import variable
from vespa.config.values import (
    Number,
    address,
    benchmark,
    boolean,
    choice,
    field_value,
    host,
    path_or_off,
    positive_seconds,
    protocol,
    seconds,
    text,
    whole,
)
from vespa.protocol.urls import BaseURL
from vespa.vast.addresses import AUTOSCALERS
from vespa.vast.signature import SignatureMode
from vespa.vast.status_report import Identity

BACKLOG = 1024  # connections that may wait to be accepted; Twisted's 50 is soon full

_vast = partial(variable, section="Set by Vast.ai")
_backend = partial(variable, section="Backend")
_listening = partial(variable, section="Listening")
_signatures = partial(variable, section="Signatures")
_admission = partial(variable, section="Admission")
_readiness = partial(variable, section="Readiness")
_reports = partial(variable, section="Reports")
_limits = partial(variable, section="Limits on clients")


@frozen(kw_only=True)
class WorkerSettings:
    """Every variable that the worker reads, in the order of the documentation."""

    container_id: int | None = _vast(whole(0), None, "This worker's id.", name="CONTAINER_ID")
    master_token: str = _vast(text, "", "This worker's secret; it is never logged.", name="MASTER_TOKEN", secret=True)
    report_addr: tuple[str, ...] = _vast(
        address, AUTOSCALERS["prod"], "The autoscaler; several are tried in order.", name="REPORT_ADDR", many=True
    )
    public_ipaddr: str = _vast(text, "", "The machine's public address.", name="PUBLIC_IPADDR")
    public_port: int | None = _vast(
        whole(1, 65535), None, "The public port that leads to the worker's port.", name="VAST_TCP_PORT_<port>"
    )

    backend_url: BaseURL | None = _backend(
        BaseURL.parse,
        None,
        "Required. Where requests go: `http://`, `https://` (path prefixes are kept) or `unix:/a.sock`.",
    )
    backend_ca_file: str = _backend(text, "", "PEM roots to trust for an https backend, in place of the system's.")
    backend_authorization: str = _backend(
        field_value,
        "",
        "The backend's key as a whole `Authorization` value, such as `Bearer KEY`: for probes, benchmark and every "
        "request, in place of a caller's own. Never logged.",
        secret=True,
    )
    backend_authorization_file: str = _backend(text, "", "A file that holds that value, in place of the variable.")
    backend_connect_timeout: float = _backend(seconds, "2", "Time to connect to the backend; 0 is the system's own.")
    backend_first_byte_timeout: float = _backend(seconds, "0", "Time until the response begins; 0 is no limit.")
    backend_idle_timeout: float = _backend(seconds, "0", "Longest silence within a response; 0 is no limit.")
    backend_total_timeout: float = _backend(seconds, "0", "Longest response as a whole; 0 is no limit.")
    backend_keepalive: float = _backend(
        seconds,
        "60",
        "Longest time that an idle connection is kept for reuse, less where the backend closes sooner; 0: not at all.",
    )
    backend_head_limit: int = _backend(whole(1024, unit="bytes"), "65536", "Longest head of a response.")
    connection_limit: int = _backend(whole(0), "0", "Most connections to the backend; 0 is no limit.")
    connection_limit_per_host: int = _backend(whole(0), "0", "The same; the smaller of the two that are set counts.")

    worker_port: int = _listening(whole(1, 65535), "3000", "The port to listen on.", fallback="WORKER_PORT")
    use_ssl: bool = _listening(
        boolean,
        "false",
        "Listen with TLS; `start_server.sh` and `python3 -m worker` do on Vast.ai.",
        fallback="USE_SSL",
    )
    ssl_cert_file: str = _listening(text, "/etc/instance.crt", "The certificate, PEM.")
    ssl_key_file: str = _listening(text, "/etc/instance.key", "Its key, PEM.")
    listen: str = _listening(text, "", "A whole Twisted endpoint string, in place of port, TLS and interface.")
    unsecured: bool = _listening(
        boolean,
        "false",
        "For development: requests need no signature, only this machine connects.",
        fallback="UNSECURED",
    )
    unsecured_public: bool = _listening(boolean, "false", "Unsecured, and open to the network all the same.")
    allowed_hosts: tuple[str, ...] = _listening(
        host, "", "Names besides localhost by which an unsecured worker may be addressed (`Host`).", many=True
    )
    drain_timeout: float = _listening(seconds, "8", "After SIGTERM: time to finish what is in flight.")
    transport: str = _listening(
        choice("fast", "stock"),
        "fast",
        "`stock`: Twisted's public interfaces alone, at about twice the CPU time; for a Twisted or pyOpenSSL that is "
        "newer than Vespa was checked against, and by itself where a name is missing.",
    )
    log_level: str = _listening(
        choice("debug", "info", "warn", "error", "critical", warning="warn"),
        "INFO",
        "Least level that is logged: DEBUG, INFO, WARN, ERROR or CRITICAL.",
    )

    signature: SignatureMode = _signatures(
        choice("any", "full", "url"),
        "any",
        "Which signed form is accepted: `full` (all fields), `url` (the address) or `any`.",
    )
    check_url: bool = _signatures(boolean, "true", "Refuse what was signed for another worker's address.")
    replay: ReplayMode = _signatures(
        choice("off", "warn", "reject"),
        "off",
        "What to do with a repeated assignment: `off` (nothing), `warn` (log it), `reject`.",
    )
    replay_capacity: int = _signatures(whole(1), "100000", "How many assignments are remembered for that.")
    max_cost: float | None = _signatures(
        Number(0, above=True),
        None,
        "Highest cost of a request; not set: ten minutes of the measured throughput, or 1e9.",
    )
    max_unverified: int = _signatures(whole(0, unit="bytes"), "1048576", "Most held of a body with no signature yet.")
    pubkey_max_retries: int = _signatures(whole(1), "3", "Tries for the autoscaler's key before a longer pause.")
    pubkey_timeout: float = _signatures(positive_seconds, "10", "Time for one try.")

    allow_parallel: bool = _admission(boolean, "true", "False: one request at a time, in the order they came.")
    max_concurrency: int = _admission(whole(0), "0", "Most requests at the backend at once; 0 is no limit.")
    max_wait_time: float = _admission(seconds, "10.0", "Estimated wait over which a request gets 429.")
    max_queue: int = _admission(whole(0), "1000", "Most requests that may wait for a slot.")
    queue_timeout: float = _admission(seconds, "300", "Longest wait for a slot; 0 is no limit.")
    max_tunnels: int = _admission(
        whole(0), "1000", "Most upgraded connections (WebSockets), without a slot; 0 is no limit."
    )
    tunnel_idle_timeout: float = _admission(
        seconds, "3600", "An upgraded connection that carries nothing for so long is closed; 0: never."
    )

    benchmark: str = _readiness(
        benchmark, "", "Required unless unsecured. What measures the backend, `module:function` or `/a.py:function`."
    )
    benchmark_cache_file: str = _readiness(text, ".has_benchmark", "Where its result is kept for the next start.")
    benchmark_timeout: float = _readiness(positive_seconds, "600", "Time for the benchmark.")
    healthcheck_endpoint: str = _readiness(path_or_off, "/health", "The path that is 2xx when well; `off`: no probes.")
    healthcheck_retry_interval: float = _readiness(positive_seconds, "5", "Between probes while it loads.")
    healthcheck_poll_interval: float = _readiness(positive_seconds, "10", "Between probes once it is ready.")
    healthcheck_timeout: float = _readiness(positive_seconds, "10", "Time for one probe.")
    healthcheck_consecutive_failures: int = _readiness(whole(1), "3", "Failed probes in a row that make an error.")
    ready_timeout_initial: float = _readiness(positive_seconds, "1200", "Time to load on the first start.")
    ready_timeout_resume: float = _readiness(positive_seconds, "300", "Time to load when a benchmark is cached.")

    metrics_update_interval: float = _reports(positive_seconds, "1", "Between looks at whether to report.")
    delete_requests_interval: float = _reports(positive_seconds, "1", "Between reports of finished requests.")
    metrics_retry_delay: float = _reports(seconds, "2", "Pause before the addresses are tried again.")
    metrics_max_retries: int = _reports(whole(1), "3", "Rounds over the addresses for one report.")
    metrics_timeout: float = _reports(positive_seconds, "10", "Time for one try.")
    metrics_connection_limit: int = _reports(whole(1), "8", "Most connections to the autoscaler.")
    metrics_connection_limit_per_host: int = _reports(whole(1), "4", "Most to one of its addresses.")
    delete_backlog: int = _reports(whole(1), "100000", "Finished requests remembered while the autoscaler is away.")
    force_update_file: str = _reports(text, "/.force_update", "Written when Vast asks for an update of the worker.")
    report_version: str = _reports(text, "1.1.0", "The version that reports name: what Vast's own worker sends.")

    head_limit: int = _limits(whole(1024, unit="bytes"), "32768", "Longest head of a request.")
    head_fields: int = _limits(whole(32, 10000), "128", "Most fields in a head, a request's or a response's.")
    upgrades: tuple[str, ...] = _limits(
        protocol, "websocket", "Protocols to which a client may switch (`Upgrade`); others are left out.", many=True
    )
    head_timeout: float = _limits(positive_seconds, "10", "Time for a whole head.")
    body_min_rate: int = _limits(
        whole(0, unit="bytes/s"), "128", "Slowest body before its signature is known, in any 10 s; 0 is no limit."
    )
    body_idle_timeout: float = _limits(
        seconds, "60", "Longest silence within the body of a verified request, which needs no pace; 0 is no limit."
    )
    write_stall_timeout: float = _limits(seconds, "60", "A reader that takes nothing for so long is cut; 0: never.")
    keepalive_timeout: float = _limits(seconds, "30", "How long an idle connection is kept; 0 is no limit.")
    tcp_keepalive: int = _limits(
        whole(0, unit="seconds"), "60", "Silence after which the system asks whether a client is still there; 0: never."
    )
    pipeline_limit: int = _limits(whole(0, unit="bytes"), "65536", "Most that is held of requests sent ahead.")
    unverified_total: int = _limits(
        whole(0, unit="bytes"),
        "67108864",
        "Most held of all bodies with no signature yet; more get 503. 0 is no limit.",
    )
    held_limit: int = _limits(
        whole(0, unit="bytes"),
        "268435456",
        "Most held by all connections together; more requests get 503. 0 is no limit.",
    )
    inbound_limit: int = _limits(
        whole(1),
        "10000",
        "Most connections at once, if the system allows twice as many open files; idle ones give way.",
    )
    inbound_limit_per_address: int = _limits(whole(0), "0", "Most from one address; 0 is no limit.")

    @property
    def secured(self) -> bool:
        """Whether requests must be signed."""
        return not self.unsecured

    @property
    def tls(self) -> bool:
        """Whether the worker itself makes the listening port speak TLS."""
        return self.use_ssl and not self.listen

    @property
    def public_url(self) -> str:
        """The address under which clients reach this worker; "" where Vast did not tell it."""
        if not self.public_ipaddr or self.public_port is None:
            return ""
        host = f"[{self.public_ipaddr}]" if ":" in self.public_ipaddr else self.public_ipaddr
        return f"{'https' if self.use_ssl else 'http'}://{host}:{self.public_port}"

    @property
    def identity(self) -> Identity | None:
        """Who the reports say we are; None when we report to nobody."""
        if self.container_id is None or not self.master_token:
            return None
        return Identity(
            id=self.container_id, mtoken=self.master_token, version=self.report_version, url=self.public_url
        )

    @property
    def report_addresses(self) -> tuple[str, ...]:
        """The autoscaler's addresses, in the order to try; none when we report to nobody."""
        return self.report_addr if self.identity is not None else ()

    @property
    def backend_connection_limit(self) -> int:
        """Most connections to the backend, which is one host; 0 is no limit."""
        limits = [limit for limit in (self.connection_limit, self.connection_limit_per_host) if limit]
        return min(limits, default=0)

    @property
    def concurrency(self) -> int:
        """Most requests at the backend at once; 0 is no limit."""
        return self.max_concurrency if self.allow_parallel else 1

    @property
    def interface(self) -> str:
        """The address to listen on where VESPA_LISTEN names none."""
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
    # In an endpoint string ":" parts arguments and "\" quotes.
    return argument.replace("\\", "\\\\").replace(":", "\\:")

"""The variables of a worker's surroundings: what Vast.ai sets, its backend, and the port at which it listens."""

from __future__ import annotations

from functools import partial

from attrs import frozen

from vespa.config.schema import variable
from vespa.config.values import (
    address,
    boolean,
    choice,
    field_value,
    host,
    seconds,
    text,
    whole,
)
from vespa.protocol.affinity_key import AffinityKey
from vespa.protocol.urls import BaseURL
from vespa.vast.addresses import AUTOSCALERS

_vast = partial(variable, section="Set by Vast.ai")
_backend = partial(variable, section="Backend")
_listening = partial(variable, section="Listening")


@frozen(kw_only=True)
class WorkerSurroundings:
    """The first variables that the worker reads, in the order of the documentation."""

    container_id: int | None = _vast(whole(0), None, "This worker's id.", name="CONTAINER_ID")
    master_token: str = _vast(text, "", "This worker's secret; it is never logged.", name="MASTER_TOKEN", secret=True)
    report_addr: tuple[str, ...] = _vast(
        address, AUTOSCALERS["prod"], "The autoscaler's addresses, tried in order.", name="REPORT_ADDR", many=True
    )
    public_ipaddr: str = _vast(text, "", "The machine's public address.", name="PUBLIC_IPADDR")
    public_port: int | None = _vast(
        whole(1, 65535), None, "The public port that leads to the worker's port.", name="VAST_TCP_PORT_<port>"
    )

    backend_urls: tuple[BaseURL, ...] = _backend(
        BaseURL.parse,
        "",
        "Required. Where requests go: `http://`, `https://` (path prefixes are kept) or `unix:/a.sock`. Several, such "
        "as one for each GPU, share the requests.",
        name="VESPA_BACKEND_URL",
        many=True,
    )
    affinity: AffinityKey | None = _backend(
        AffinityKey.parse,
        None,
        "With several backends: requests with the same value go to the same one, as far as its load allows. "
        "`header:NAME` or `json:path.to.member`.",
    )
    backend_ca_file: str = _backend(text, "", "PEM roots to trust for an https backend, instead of the system's.")
    backend_authorization: str = _backend(
        field_value,
        "",
        "The backend's key as a whole `Authorization` value, such as `Bearer KEY`, for probes, benchmark and every "
        "request, instead of the caller's own. Never logged.",
        secret=True,
    )
    backend_authorization_file: str = _backend(text, "", "A file with that value, instead of the variable.")
    backend_connect_timeout: float = _backend(seconds, "2", "Limit for connecting to the backend; 0: the system's.")
    backend_first_byte_timeout: float = _backend(seconds, "0", "Limit until the response begins; 0: no limit.")
    backend_idle_timeout: float = _backend(seconds, "0", "Longest silence within a response; 0: no limit.")
    backend_total_timeout: float = _backend(seconds, "0", "Limit of a whole response; 0: no limit.")
    backend_keepalive: float = _backend(
        seconds, "60", "How long an idle connection is kept, shorter if the backend closes sooner; 0: no reuse."
    )
    backend_head_limit: int = _backend(whole(1024, unit="bytes"), "65536", "Maximum size of a response's head.")
    connection_limit: int = _backend(whole(0), "0", "Maximum of connections to a backend; 0: no limit.")
    connection_limit_per_host: int = _backend(whole(0), "0", "The same limit; the smaller of the two applies.")

    worker_port: int = _listening(whole(1, 65535), "3000", "The port to listen on.", fallback="WORKER_PORT")
    use_ssl: bool = _listening(
        boolean,
        "false",
        "Listen with TLS; default on Vast.ai with `start_server.sh` and `python3 -m worker`.",
        fallback="USE_SSL",
    )
    ssl_cert_file: str = _listening(text, "/etc/instance.crt", "The certificate, PEM.")
    ssl_key_file: str = _listening(text, "/etc/instance.key", "Its key, PEM.")
    listen: str = _listening(text, "", "A Twisted endpoint string, instead of port, TLS and interface.")
    unsecured: bool = _listening(
        boolean,
        "false",
        "For development: requests need no signature, and only this machine can connect.",
        fallback="UNSECURED",
    )
    unsecured_public: bool = _listening(boolean, "false", "Open an unsecured worker to the network.")
    allowed_hosts: tuple[str, ...] = _listening(
        host, "", "Allowed values of `Host` for an unsecured worker, besides localhost.", many=True
    )
    drain_timeout: float = _listening(seconds, "8", "Time for requests in flight after a SIGTERM.")
    transport: str = _listening(
        choice("fast", "stock"),
        "fast",
        "`stock`: only Twisted's public interfaces, at about twice the CPU time; for a Twisted or pyOpenSSL newer than "
        "the tested one. Used automatically if a private name is missing.",
    )
    log_level: str = _listening(
        choice("debug", "info", "warn", "error", "critical", warning="warn"),
        "INFO",
        "Lowest level that is logged: DEBUG, INFO, WARN, ERROR or CRITICAL.",
    )

"""Every setting of the client proxy, for its commands and for programs that embed it."""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

from vespa.accounting.workload import MAX_COST
from vespa.config.schema import Option, check, option
from vespa.config.values import Number, address, choice, endpoint_or_off, host_name, interface, key, origin, text, whole
from vespa.vast.addresses import AUTOSCALERS, CONSOLE

Dialect = Literal["vespa", "official"]
Instance = Literal["prod", "alpha", "candidate", "local"]

_seconds = Number(0, 1e9, "seconds")
_many: Final = 1 << 40

LIST: Final = Option(None, "", "Print the account's endpoints and exit; not for `twistd`.", flag="list")
WORKERS: Final = Option(None, "", "With --list: print the endpoints' workers too.", flag="workers")
"""Options of the command that are not settings."""


@frozen(kw_only=True)
class ClientSettings:
    """
    One endpoint, and how it is called. Durations are in seconds, costs in Vast's units of work.

    One of the two keys is enough: with only the account's, the endpoint's is looked up at the console. Raises
    ValueError, which names every wrong field.
    """

    endpoint: str = option(text, "", "The endpoint to send requests to: name or id.", "VAST_ENDPOINT", short="e")
    endpoint_key: str = option(key, "", "The endpoint's key.", "VAST_API_KEY", flag="api-key", secret=True)
    account_key: str = option(
        key,
        "",
        "The account's key, to look up the endpoint's; default: the `vastai` command's.",
        "VAST_ACCOUNT_KEY",
        secret=True,
    )

    port: int = option(whole(0, 65535), "8010", "The port to listen at; 0: any free one.", "VESPA_CLIENT_PORT")
    # A program may give a host name, which is resolved.
    host: str = option(
        interface, "127.0.0.1", "The address to listen at; beyond loopback it needs a token.", checked=False
    )
    token: str = option(
        key,
        "",
        "The token that callers send, as `Authorization: Bearer` or `X-Api-Key`.",
        "VESPA_CLIENT_TOKEN",
        secret=True,
    )
    allow_hosts: tuple[str, ...] = option(
        host_name, "", "A further name by which callers may address this proxy.", flag="allow-host", many=True
    )
    allow_origins: tuple[str, ...] = option(
        origin,
        "",
        "The origin of a web page that may use this proxy, such as `http://localhost:3000`.",
        "VESPA_CLIENT_ALLOW_ORIGIN",
        flag="allow-origin",
        many=True,
    )
    passes: tuple[str, ...] = option(
        choice("cookie", "authorization"),
        "",
        "Pass a caller's `cookie` or `authorization` on to the worker, and cookies back.",
        "VESPA_CLIENT_PASS",
        flag="pass",
        many=True,
    )

    instance: Instance = option(
        choice(*AUTOSCALERS), "prod", "Vast's autoscaler: prod, alpha, candidate, or local: http://localhost:8080."
    )
    autoscaler_url: str = option(address, "", "The autoscaler; default: that of the instance.", "VAST_AUTOSCALER_URL")
    """Use `autoscaler`, which also knows the instance."""
    debug_worker_url: str = option(
        address, "", "A worker to send all requests to, without a signature and an autoscaler.", "VAST_DEBUG_WORKER_URL"
    )
    console_url: str = option(address, CONSOLE, "Vast's console.", "VAST_CONSOLE_URL")
    worker_ca: str = option(text, "", "PEM roots for workers' certificates, instead of Vast's own.", unit="file")
    dialect: Dialect = option(
        choice("vespa", "official"), "vespa", "`official`: for workers of the `vastai` package: only POST with JSON."
    )
    default_cost: float | None = option(
        Number(0, MAX_COST, "work"), None, "The cost of a request without one; otherwise 1."
    )
    cost_from_tokens: bool = option(
        None, "", "Without --default-cost, use the maximum number of tokens in a JSON body as its cost."
    )
    waiting_pings: bool = option(None, "", "Send comments to callers of streams while they wait for a worker.")
    stream_errors: bool = option(
        None, "", "End an event stream that breaks with an error event, which libraries raise.", "VESPA_STREAM_ERRORS"
    )

    # The libraries of OpenAI and Anthropic time out after 600 s. This is shorter, so that callers get our message.
    timeout: float = option(
        _seconds, "590", "Limit of a search for a worker, and until a response begins; 0: no limit.", "VESPA_TIMEOUT"
    )
    # Without it the proxy still notices that a worker's machine is gone.
    idle_timeout: float = option(_seconds, "0", "Longest silence within a response; 0: no limit.", "VESPA_IDLE_TIMEOUT")
    first_token_timeout: float = option(
        _seconds,
        "0",
        "Time until the first byte of a response's body, after which another worker is asked; 0: no limit.",
        "VESPA_FIRST_TOKEN_TIMEOUT",
    )
    attempts: int = option(whole(1, _many), "5", "Maximum number of workers for one request.")
    max_sessions: int = option(
        whole(1, _many), "100", "Maximum of sessions (X-Vespa-Session); the one unused for longest ends for a new one."
    )
    session_lifetime: float = option(
        Number(0, 1e6, "seconds", above=True), "60", "Lifetime of a session without X-Vespa-Session-Lifetime."
    )
    jobs: Literal["off", "comfyui", "comfyui-wrapper"] = option(
        choice("off", "comfyui", "comfyui-wrapper"),
        "off",
        "`comfyui` or `comfyui-wrapper`: requests about a job that was begun through this API go to its worker.",
        "VESPA_CLIENT_JOBS",
    )
    max_connections: int = option(
        whole(0, _many), "1000", "Maximum of requests in flight; others wait. 0: no limit.", "VESPA_MAX_CONNECTIONS"
    )
    max_connections_per_host: int = option(
        whole(0, _many), "0", "Maximum of connections to one worker; 0: no limit.", "VESPA_MAX_CONNECTIONS_PER_HOST"
    )
    replay_bytes: int = option(
        whole(0, _many), "1048576", "Maximum size of a body that is kept for another worker.", flag=""
    )
    drain_timeout: float = option(_seconds, "5", "Time for requests in flight after a SIGTERM.")
    transport: Literal["fast", "stock"] = option(
        choice("fast", "stock"), "fast", "`stock`: for a Twisted newer than the tested one.", "VESPA_TRANSPORT"
    )
    debug: bool = option(None, "", "Log every request, and more.")
    admin_listen: str = option(
        endpoint_or_off,
        "tcp:9465:interface=127.0.0.1",
        "The Twisted endpoint string of status page and metrics; `off`: none. A taken default port moves on.",
        "VESPA_CLIENT_ADMIN_LISTEN",
    )
    admin_token: str = option(
        key,
        "",
        "The bearer token for them; required unless only this machine can connect.",
        "VESPA_CLIENT_ADMIN_TOKEN",
        secret=True,
    )
    access_log: Literal["off", "failures", "all"] = option(
        choice("off", "failures", "all"),
        "failures",
        "Which requests get a line in the log: `off`, `failures`, `all`.",
        "VESPA_ACCESS_LOG",
    )
    log_format: Literal["auto", "text", "json"] = option(
        choice("auto", "text", "json"),
        "auto",
        "`text` or `json`; `auto`: text on a terminal, otherwise JSON.",
        "VESPA_LOG_FORMAT",
    )
    otlp_endpoint: str = option(
        text,
        "",
        "A collector of OpenTelemetry, to which spans are sent over OTLP; needs the extra `otlp`.",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        flag="",
    )
    request_id: bool = option(
        None, "", "Make an X-Request-Id for each request without one, and pass it on to the worker.", "VESPA_REQUEST_ID"
    )

    def __attrs_post_init__(self) -> None:
        check(self)

    @property
    def log_level(self) -> str:
        """The lowest level that is logged."""
        return "debug" if self.debug else "info"

    @property
    def autoscaler(self) -> str:
        """The autoscaler's base URL, without a final slash."""
        return self.autoscaler_url or AUTOSCALERS[self.instance]

    @property
    def local_workers(self) -> bool:
        """Whether workers may be on this machine or in a private network."""
        return bool(self.autoscaler_url or self.debug_worker_url) or self.instance == "local"

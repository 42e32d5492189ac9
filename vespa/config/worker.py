"""The one table of Vespa's environment variables: name, type, default, unit, meaning, older name and section."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from vespa.accounting.replay_guard import ReplayMode
from vespa.vast.signature import SignatureMode

from .values import (
    Backend,
    addresses,
    backend_url,
    benchmark,
    boolean,
    choice,
    field_value,
    hosts,
    integer,
    path_or_off,
    positive,
    protocols,
    seconds,
    text,
)


@attrs.frozen
class Variable:
    """One row. `default` is text as a user would write it; "" means that nothing is the default."""

    name: str
    parse: Callable[[str], Any]
    default: str
    help: str
    unit: str = ""
    fallback: str = ""
    section: str = ""
    secret: bool = False


def _row(name: str, parse: Callable[[str], Any], default: str, help: str, *, absent: Any = "", **more: Any) -> Any:
    """An attrs field that carries its row; `absent` is the value where the default is nothing."""
    row = Variable(name, parse, default, help, **more)
    return attrs.field(default=parse(default) if default else absent, repr=not row.secret, metadata={"variable": row})


_vast = partial(_row, section="Set by Vast.ai")
_backend = partial(_row, section="Backend")
_door = partial(_row, section="Listening")
_trust = partial(_row, section="Signatures")
_gate = partial(_row, section="Admission")
_ready = partial(_row, section="Readiness")
_report = partial(_row, section="Reports")
_limit = partial(_row, section="Limits on clients")


@attrs.frozen(kw_only=True)
class Variables:
    """Every variable that the worker reads, parsed; the order is that of the documentation."""

    container_id: int | None = _vast("CONTAINER_ID", integer(0), "", "This worker's id.", absent=None)
    master_token: str = _vast("MASTER_TOKEN", text, "", "This worker's secret; it is never logged.", secret=True)
    report_addr: tuple[str, ...] = _vast(
        "REPORT_ADDR", addresses, "https://run.vast.ai", "The autoscaler; a comma list is tried in order."
    )
    public_ipaddr: str = _vast("PUBLIC_IPADDR", text, "", "The machine's public address.")
    public_port: int | None = _vast(
        "VAST_TCP_PORT_<port>", integer(1, 65535), "", "The public port that leads to the worker's port.", absent=None
    )

    backend: Backend | None = _backend(
        "VESPA_BACKEND_URL",
        backend_url,
        "",
        "Where requests go: `http://`, `https://` (a path prefix is kept) or `unix:/run/vllm.sock`. Required.",
        absent=None,
    )
    backend_ca_file: str = _backend(
        "VESPA_BACKEND_CA_FILE", text, "", "PEM roots to trust for an https backend, in place of the system's."
    )
    backend_authorization: str = _backend(
        "VESPA_BACKEND_AUTHORIZATION",
        field_value,
        "",
        "The backend's key as a whole `Authorization` value, such as `Bearer KEY`: sent with probes, benchmark and "
        "every request, in place of a caller's own. Never logged.",
        secret=True,
    )
    backend_authorization_file: str = _backend(
        "VESPA_BACKEND_AUTHORIZATION_FILE", text, "", "A file that holds that value, in place of the variable."
    )
    backend_connect_timeout: float = _backend(
        "VESPA_BACKEND_CONNECT_TIMEOUT",
        seconds,
        "2",
        "Time to connect to the backend; 0 leaves it to the system.",
        unit="seconds",
    )
    backend_first_byte_timeout: float = _backend(
        "VESPA_BACKEND_FIRST_BYTE_TIMEOUT",
        seconds,
        "0",
        "Time until the response begins; 0 is no limit.",
        unit="seconds",
    )
    backend_idle_timeout: float = _backend(
        "VESPA_BACKEND_IDLE_TIMEOUT", seconds, "0", "Longest silence within a response; 0 is no limit.", unit="seconds"
    )
    backend_total_timeout: float = _backend(
        "VESPA_BACKEND_TOTAL_TIMEOUT", seconds, "0", "Longest response as a whole; 0 is no limit.", unit="seconds"
    )
    backend_keepalive: float = _backend(
        "VESPA_BACKEND_KEEPALIVE",
        seconds,
        "60",
        "Longest time that an idle connection is kept for reuse; 0: not at all. One that the backend closes sooner is "
        "given up shortly before that, as it says or was seen to.",
        unit="seconds",
    )
    backend_head_limit: int = _backend(
        "VESPA_BACKEND_HEAD_LIMIT", integer(1024), "65536", "Longest head of a response.", unit="bytes"
    )
    connection_limit: int = _backend(
        "VESPA_CONNECTION_LIMIT", integer(0), "0", "Most connections to the backend; 0 is no limit."
    )
    connection_limit_per_host: int = _backend(
        "VESPA_CONNECTION_LIMIT_PER_HOST", integer(0), "0", "The same; the smaller of the two that are set counts."
    )

    worker_port: int = _door(
        "VESPA_WORKER_PORT", integer(1, 65535), "3000", "The port to listen on.", fallback="WORKER_PORT"
    )
    use_ssl: bool = _door(
        "VESPA_USE_SSL",
        boolean,
        "false",
        "Listen with TLS. On Vast.ai `start_server.sh` and `python3 -m worker` make it true.",
        fallback="USE_SSL",
    )
    ssl_cert_file: str = _door("VESPA_SSL_CERT_FILE", text, "/etc/instance.crt", "The certificate, PEM.")
    ssl_key_file: str = _door("VESPA_SSL_KEY_FILE", text, "/etc/instance.key", "Its key, PEM.")
    listen: str = _door(
        "VESPA_LISTEN", text, "", "A whole Twisted endpoint string, in place of port, TLS and interface."
    )
    unsecured: bool = _door(
        "VESPA_UNSECURED",
        boolean,
        "false",
        "Development: nothing is verified, plain requests pass, only this machine can connect.",
        fallback="UNSECURED",
    )
    unsecured_public: bool = _door(
        "VESPA_UNSECURED_PUBLIC", boolean, "false", "Unsecured, and open to the network all the same."
    )
    allowed_hosts: tuple[str, ...] = _door(
        "VESPA_ALLOWED_HOSTS",
        hosts,
        "",
        "Names besides localhost by which an unsecured worker may be addressed (`Host`), separated by commas.",
    )
    drain_timeout: float = _door(
        "VESPA_DRAIN_TIMEOUT", seconds, "8", "After SIGTERM: time to finish what is in flight.", unit="seconds"
    )
    transport: str = _door(
        "VESPA_TRANSPORT",
        choice("fast", "stock"),
        "fast",
        "`stock`: sockets, TLS and reactor by Twisted's public interfaces alone, at about twice the CPU time. For a "
        "Twisted or pyOpenSSL newer than Vespa was checked against; where a name is missing it is so by itself.",
    )
    log_level: str = _door(
        "VESPA_LOG_LEVEL",
        choice("debug", "info", "warn", "error", "critical", warning="warn"),
        "INFO",
        "Least level that is logged: DEBUG, INFO, WARN, ERROR or CRITICAL.",
    )

    signature: SignatureMode = _trust(
        "VESPA_SIGNATURE",
        choice("any", "full", "url"),
        "any",
        "Which signed form is accepted: `full` (all fields), `url` (the address alone) or `any` of them.",
    )
    check_url: bool = _trust("VESPA_CHECK_URL", boolean, "true", "Refuse what was signed for another worker's address.")
    replay: ReplayMode = _trust(
        "VESPA_REPLAY",
        choice("off", "warn", "reject"),
        "off",
        "What to do with an assignment seen before: `off` (nothing), `warn` (log it) or `reject`.",
    )
    replay_capacity: int = _trust(
        "VESPA_REPLAY_CAPACITY", integer(1), "100000", "How many assignments are remembered for that."
    )
    max_cost: float | None = _trust(
        "VESPA_MAX_COST",
        positive,
        "",
        "Highest cost that a request may name; not set: ten minutes of the measured throughput, 1e9 without one.",
        absent=None,
    )
    max_unverified: int = _trust(
        "VESPA_MAX_UNVERIFIED",
        integer(0),
        "1048576",
        "Most of a body held before its signature is known.",
        unit="bytes",
    )
    pubkey_max_retries: int = _trust(
        "VESPA_PUBKEY_MAX_RETRIES", integer(1), "3", "Tries for the autoscaler's key before a longer pause."
    )
    pubkey_timeout: float = _trust("VESPA_PUBKEY_TIMEOUT", positive, "10", "Time for one try.", unit="seconds")

    allow_parallel: bool = _gate(
        "VESPA_ALLOW_PARALLEL", boolean, "true", "False: one request at a time, in the order they came."
    )
    max_concurrency: int = _gate(
        "VESPA_MAX_CONCURRENCY", integer(0), "0", "Most requests at the backend at once; 0 is no limit."
    )
    max_wait_time: float = _gate(
        "VESPA_MAX_WAIT_TIME", seconds, "10.0", "Estimated wait over which a request gets 429.", unit="seconds"
    )
    max_queue: int = _gate("VESPA_MAX_QUEUE", integer(0), "1000", "Most requests that may wait for a slot.")
    queue_timeout: float = _gate(
        "VESPA_QUEUE_TIMEOUT", seconds, "300", "Longest wait for a slot; 0 is no limit.", unit="seconds"
    )
    max_tunnels: int = _gate(
        "VESPA_MAX_TUNNELS",
        integer(0),
        "1000",
        "Most upgraded connections (WebSockets), which hold no slot; 0 is no limit.",
    )
    tunnel_idle_timeout: float = _gate(
        "VESPA_TUNNEL_IDLE_TIMEOUT",
        seconds,
        "3600",
        "An upgraded connection that carries nothing for so long is closed; 0: never.",
        unit="seconds",
    )

    benchmark: str = _ready(
        "VESPA_BENCHMARK",
        benchmark,
        "",
        "What measures the backend, `module:function` or `/path/file.py:function`. Required unless unsecured.",
    )
    benchmark_cache_file: str = _ready(
        "VESPA_BENCHMARK_CACHE_FILE", text, ".has_benchmark", "Where its result is kept for the next start."
    )
    benchmark_timeout: float = _ready(
        "VESPA_BENCHMARK_TIMEOUT", positive, "600", "Time for the benchmark.", unit="seconds"
    )
    healthcheck_endpoint: str = _ready(
        "VESPA_HEALTHCHECK_ENDPOINT",
        path_or_off,
        "/health",
        "The path that answers 2xx when well; `off`: no probes.",
    )
    healthcheck_retry_interval: float = _ready(
        "VESPA_HEALTHCHECK_RETRY_INTERVAL", positive, "5", "Between probes while it loads.", unit="seconds"
    )
    healthcheck_poll_interval: float = _ready(
        "VESPA_HEALTHCHECK_POLL_INTERVAL", positive, "10", "Between probes once it is ready.", unit="seconds"
    )
    healthcheck_timeout: float = _ready(
        "VESPA_HEALTHCHECK_TIMEOUT", positive, "10", "Time for one probe.", unit="seconds"
    )
    healthcheck_consecutive_failures: int = _ready(
        "VESPA_HEALTHCHECK_CONSECUTIVE_FAILURES", integer(1), "3", "Failed probes in a row that make an error."
    )
    ready_timeout_initial: float = _ready(
        "VESPA_READY_TIMEOUT_INITIAL", positive, "1200", "Time to load on the first start.", unit="seconds"
    )
    ready_timeout_resume: float = _ready(
        "VESPA_READY_TIMEOUT_RESUME", positive, "300", "Time to load when a benchmark is cached.", unit="seconds"
    )

    metrics_update_interval: float = _report(
        "VESPA_METRICS_UPDATE_INTERVAL", positive, "1", "Between looks at whether to report.", unit="seconds"
    )
    delete_requests_interval: float = _report(
        "VESPA_DELETE_REQUESTS_INTERVAL", positive, "1", "Between reports of finished requests.", unit="seconds"
    )
    metrics_retry_delay: float = _report(
        "VESPA_METRICS_RETRY_DELAY", seconds, "2", "Pause before the addresses are tried again.", unit="seconds"
    )
    metrics_max_retries: int = _report(
        "VESPA_METRICS_MAX_RETRIES", integer(1), "3", "Rounds over the addresses for one report."
    )
    metrics_timeout: float = _report("VESPA_METRICS_TIMEOUT", positive, "10", "Time for one try.", unit="seconds")
    metrics_connection_limit: int = _report(
        "VESPA_METRICS_CONNECTION_LIMIT", integer(1), "8", "Most connections to the autoscaler."
    )
    metrics_connection_limit_per_host: int = _report(
        "VESPA_METRICS_CONNECTION_LIMIT_PER_HOST", integer(1), "4", "Most to one of its addresses."
    )
    delete_backlog: int = _report(
        "VESPA_DELETE_BACKLOG", integer(1), "100000", "Finished requests remembered while the autoscaler is away."
    )
    force_update_file: str = _report(
        "VESPA_FORCE_UPDATE_FILE", text, "/.force_update", "Written when Vast asks for an update of the worker."
    )
    report_version: str = _report(
        "VESPA_REPORT_VERSION", text, "1.1.0", "The version that reports name: the one that Vast's own worker sends."
    )

    head_limit: int = _limit("VESPA_HEAD_LIMIT", integer(1024), "32768", "Longest head of a request.", unit="bytes")
    head_fields: int = _limit(
        "VESPA_HEAD_FIELDS", integer(32, 10000), "128", "Most fields in a head, a request's or a response's."
    )
    upgrades: frozenset[bytes] = _limit(
        "VESPA_UPGRADES",
        protocols,
        "websocket",
        "Protocols that a client may ask the backend to switch to (`Upgrade`); other offers are left out.",
    )
    head_timeout: float = _limit("VESPA_HEAD_TIMEOUT", positive, "10", "Time for a whole head.", unit="seconds")
    body_min_rate: int = _limit(
        "VESPA_BODY_MIN_RATE",
        integer(0),
        "128",
        "Slowest body before its signature is known, in any 10 s; 0 is no limit.",
        unit="bytes/s",
    )
    body_idle_timeout: float = _limit(
        "VESPA_BODY_IDLE_TIMEOUT",
        seconds,
        "60",
        "Longest silence within the body of a verified request, which needs no pace; 0 is no limit.",
        unit="seconds",
    )
    write_stall_timeout: float = _limit(
        "VESPA_WRITE_STALL_TIMEOUT",
        seconds,
        "60",
        "A reader that takes nothing for so long is cut; 0: never.",
        unit="seconds",
    )
    keepalive_timeout: float = _limit(
        "VESPA_KEEPALIVE_TIMEOUT", seconds, "30", "How long an idle connection is kept; 0 is no limit.", unit="seconds"
    )
    tcp_keepalive: int = _limit(
        "VESPA_TCP_KEEPALIVE",
        integer(0),
        "60",
        "Silence after which the system asks whether a client is still there; 0: never.",
        unit="seconds",
    )
    pipeline_limit: int = _limit(
        "VESPA_PIPELINE_LIMIT", integer(0), "65536", "Most that is held of requests sent ahead.", unit="bytes"
    )
    unverified_total: int = _limit(
        "VESPA_UNVERIFIED_TOTAL",
        integer(0),
        "67108864",
        "Most that all requests together hold before their signatures are known; more get 503. 0 is no limit.",
        unit="bytes",
    )
    held_limit: int = _limit(
        "VESPA_HELD_LIMIT",
        integer(0),
        "268435456",
        "Most that all connections together hold of requests and responses under way; more get 503. 0 is no limit.",
        unit="bytes",
    )
    inbound_limit: int = _limit(
        "VESPA_INBOUND_LIMIT",
        integer(1),
        "10000",
        "Most connections at once, where the system allows twice as many open files; idle ones give way.",
    )
    inbound_limit_per_address: int = _limit(
        "VESPA_INBOUND_LIMIT_PER_ADDRESS", integer(0), "0", "Most from one address; 0 is no limit."
    )


def variables() -> tuple[tuple[str, Variable], ...]:
    """Each attribute's name with its row, in order."""
    return tuple((field.name, field.metadata["variable"]) for field in attrs.fields(Variables))


_benchmark = partial(Variable, parse=text, section="Built-in benchmarks")
_script = partial(Variable, parse=text, section="`start_server.sh`")

# Read by other programs of ours, so documented here and known by name, but no part of the settings.
ELSEWHERE = (
    _benchmark("MODEL_NAME", default="", help="The model that the benchmark asks for."),
    _benchmark("VESPA_COMFYUI_BENCHMARK_FILE", default="", help="A ComfyUI workflow, JSON, to measure with."),
    _benchmark("BENCHMARK_TEST_WIDTH", default="", help="ComfyUI without a workflow: image width.", unit="pixels"),
    _benchmark("BENCHMARK_TEST_HEIGHT", default="", help="ComfyUI without a workflow: image height.", unit="pixels"),
    _benchmark("BENCHMARK_TEST_STEPS", default="", help="ComfyUI without a workflow: steps."),
    _benchmark(
        "BENCHMARK_JSON_PATH", default="", help="ComfyUI: a workflow to measure with, as official images name it."
    ),
    _benchmark("BENCHMARK_RUNS", default="", help="Requests in each place of a level; ComfyUI: rounds."),
    _benchmark("BENCHMARK_CONCURRENCY", default="", help="Most requests at once; default 64, ComfyUI 1."),
    _benchmark("BENCHMARK_MAX_TOKENS", default="", help="Tokens that each request may generate: 500, TGI 256."),
    _benchmark("BENCHMARK_PROMPT_WORDS", default="", help="Words in each prompt: 250, less for small contexts."),
    _benchmark("BENCHMARK_ROUTE", default="", help="The route to measure, where a benchmark knows several."),
    _benchmark("BENCHMARK_COUNT", default="", help="`total` counts the tokens of prompts too."),
    _benchmark("BENCHMARK_SEED", default="", help="Makes the prompts the same in each run."),
    _script("VESPA_VENV", default="", help="Where its virtual environment is; `.venv` beside the script otherwise."),
    _script("VESPA_PYTHON", default="", help="An interpreter that has everything installed: no environment is made."),
    _script(
        "VESPA_SIGN_URL",
        default="https://console.vast.ai/api/v0/sign_cert/",
        help="Who signs this worker's certificate.",
    ),
    _script("VESPA_SIGN_TRIES", default="5", help="How often that is tried, with growing pauses."),
)

# The client's, which has a table of its own.
CLIENT_NAMES = frozenset(
    {
        "VESPA_CLIENT_ALLOW_ORIGIN",
        "VESPA_CLIENT_PASS",
        "VESPA_CLIENT_PORT",
        "VESPA_CLIENT_TOKEN",
        "VESPA_IDLE_TIMEOUT",
        "VESPA_TIMEOUT",
        "VESPA_MAX_CONNECTIONS",
        "VESPA_MAX_CONNECTIONS_PER_HOST",
        "VESPA_TRANSPORT",
    }
)

"""The names and defaults that users of 1.0.0 have in their scripts: none may vanish or change unnoticed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.command_line import CommandLine
from vespa.config.commands import CLIENT, DEMO, LOAD, TOP, WORKER

# All names of a setting, then its default.
WORKERS = """
CONTAINER_ID MASTER_TOKEN REPORT_ADDR=https://run.vast.ai PUBLIC_IPADDR VAST_TCP_PORT_<port> VESPA_BACKEND_URL
VESPA_BACKEND_CA_FILE VESPA_BACKEND_AUTHORIZATION VESPA_BACKEND_AUTHORIZATION_FILE VESPA_BACKEND_CONNECT_TIMEOUT=2
VESPA_BACKEND_FIRST_BYTE_TIMEOUT=0 VESPA_BACKEND_IDLE_TIMEOUT=0 VESPA_BACKEND_TOTAL_TIMEOUT=0
VESPA_BACKEND_KEEPALIVE=60 VESPA_BACKEND_HEAD_LIMIT=65536 VESPA_CONNECTION_LIMIT=0 VESPA_CONNECTION_LIMIT_PER_HOST=0
VESPA_WORKER_PORT|WORKER_PORT=3000 VESPA_USE_SSL|USE_SSL=false VESPA_SSL_CERT_FILE=/etc/instance.crt
VESPA_SSL_KEY_FILE=/etc/instance.key VESPA_LISTEN VESPA_UNSECURED|UNSECURED=false VESPA_UNSECURED_PUBLIC=false
VESPA_ALLOWED_HOSTS VESPA_DRAIN_TIMEOUT=8 VESPA_TRANSPORT=fast VESPA_LOG_LEVEL=INFO VESPA_SIGNATURE=any
VESPA_CHECK_URL=true VESPA_REPLAY=off VESPA_REPLAY_CAPACITY=100000 VESPA_MAX_COST VESPA_MAX_UNVERIFIED=1048576
VESPA_PUBKEY_MAX_RETRIES=3 VESPA_PUBKEY_TIMEOUT=10 VESPA_ALLOW_PARALLEL=true VESPA_MAX_CONCURRENCY=0
VESPA_MAX_WAIT_TIME=10.0 VESPA_MAX_QUEUE=1000 VESPA_QUEUE_TIMEOUT=300 VESPA_MAX_TUNNELS=1000
VESPA_TUNNEL_IDLE_TIMEOUT=3600 VESPA_BENCHMARK VESPA_BENCHMARK_CACHE_FILE=.has_benchmark VESPA_BENCHMARK_TIMEOUT=600
VESPA_HEALTHCHECK_ENDPOINT=/health VESPA_HEALTHCHECK_RETRY_INTERVAL=5 VESPA_HEALTHCHECK_POLL_INTERVAL=10
VESPA_HEALTHCHECK_TIMEOUT=10 VESPA_HEALTHCHECK_CONSECUTIVE_FAILURES=3 VESPA_READY_TIMEOUT_INITIAL=1200
VESPA_READY_TIMEOUT_RESUME=300 VESPA_METRICS_UPDATE_INTERVAL=1 VESPA_DELETE_REQUESTS_INTERVAL=1
VESPA_METRICS_RETRY_DELAY=2 VESPA_METRICS_MAX_RETRIES=3 VESPA_METRICS_TIMEOUT=10 VESPA_METRICS_CONNECTION_LIMIT=8
VESPA_METRICS_CONNECTION_LIMIT_PER_HOST=4 VESPA_DELETE_BACKLOG=100000 VESPA_FORCE_UPDATE_FILE=/.force_update
VESPA_REPORT_VERSION=1.1.0 VESPA_HEAD_LIMIT=32768 VESPA_HEAD_FIELDS=128 VESPA_UPGRADES=websocket VESPA_HEAD_TIMEOUT=10
VESPA_BODY_MIN_RATE=128 VESPA_BODY_IDLE_TIMEOUT=60 VESPA_WRITE_STALL_TIMEOUT=60 VESPA_KEEPALIVE_TIMEOUT=30
VESPA_TCP_KEEPALIVE=60 VESPA_PIPELINE_LIMIT=65536 VESPA_UNVERIFIED_TOTAL=67108864 VESPA_HELD_LIMIT=268435456
VESPA_INBOUND_LIMIT=10000 VESPA_INBOUND_LIMIT_PER_ADDRESS=0
MODEL_NAME VESPA_COMFYUI_BENCHMARK_FILE BENCHMARK_TEST_WIDTH BENCHMARK_TEST_HEIGHT BENCHMARK_TEST_STEPS
BENCHMARK_JSON_PATH BENCHMARK_RUNS BENCHMARK_CONCURRENCY BENCHMARK_MAX_TOKENS BENCHMARK_PROMPT_WORDS BENCHMARK_ROUTE
BENCHMARK_COUNT BENCHMARK_SEED VESPA_VENV VESPA_PYTHON VESPA_SIGN_URL=https://console.vast.ai/api/v0/sign_cert/
VESPA_SIGN_TRIES=5
"""
CLIENTS = """
--endpoint|VAST_ENDPOINT --api-key|VAST_API_KEY --account-key|VAST_ACCOUNT_KEY --list --workers
--port|VESPA_CLIENT_PORT=8010
--host=127.0.0.1 --token|VESPA_CLIENT_TOKEN --allow-host --allow-origin|VESPA_CLIENT_ALLOW_ORIGIN
--pass|VESPA_CLIENT_PASS --instance=prod --autoscaler-url|VAST_AUTOSCALER_URL
--debug-worker-url|VAST_DEBUG_WORKER_URL
--console-url|VAST_CONSOLE_URL=https://console.vast.ai --worker-ca --dialect=vespa --default-cost --cost-from-tokens
--waiting-pings --max-sessions=100 --session-lifetime=60
--timeout|VESPA_TIMEOUT=590 --idle-timeout|VESPA_IDLE_TIMEOUT=0 --attempts=5
--first-token-timeout|VESPA_FIRST_TOKEN_TIMEOUT=0 --jobs|VESPA_CLIENT_JOBS=off
--max-connections|VESPA_MAX_CONNECTIONS=1000 --max-connections-per-host|VESPA_MAX_CONNECTIONS_PER_HOST=0
--drain-timeout=5 --transport|VESPA_TRANSPORT=fast --debug
"""
LOADS = """
-e|--endpoint|VAST_ENDPOINT --url -H|--header -b|--benchmark|VESPA_BENCHMARK=benchmarks.openai_chat --stream
--no-stream --seed -n|--requests=100 --rps --poisson --concurrency=10 --duration --timeout=600 --warmup=0 --json
--html --quiet --api-key|VAST_API_KEY --account-key|VAST_ACCOUNT_KEY --instance=prod
--autoscaler-url|VAST_AUTOSCALER_URL --console-url|VAST_CONSOLE_URL=https://console.vast.ai --worker-ca
--dialect=vespa --attempts=5 --max-connections-per-host|VESPA_MAX_CONNECTIONS_PER_HOST=0 --debug
"""
DEMOS = """
--once --client-port --port=0 --rate=50 --autoscaler-port=0 --backend-port=0
"""
TOPS = """
--url --token|VESPA_ADMIN_TOKEN|VESPA_CLIENT_ADMIN_TOKEN --ca-file --once --json
"""


class InterfaceTests(SynchronousTestCase):
    def check(self, line: CommandLine, expected: str) -> None:
        known: dict[str, tuple[str, str]] = {}
        for row in line.rows:
            for name in (row.short and f"-{row.short}", row.flag and f"--{row.flag}", row.name, row.fallback):
                known[name] = row.attribute or row.name, row.default or ""
        for setting in expected.split():
            names, _, default = setting.partition("=")
            ours = {known.get(name, (name, "missing")) for name in names.split("|")}
            self.assertEqual([each for _, each in ours], [default], setting)

    def test_worker(self) -> None:
        """The worker's variables, and those of other programs."""
        self.check(WORKER, WORKERS)

    def test_client(self) -> None:
        """The client's options and variables."""
        self.check(CLIENT, CLIENTS)

    def test_load(self) -> None:
        """The load tester's."""
        self.check(LOAD, LOADS)

    def test_demo(self) -> None:
        """The demonstration's."""
        self.check(DEMO, DEMOS)

    def test_top(self) -> None:
        """The figures in a terminal."""
        self.check(TOP, TOPS)

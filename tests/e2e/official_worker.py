"""Run by the end-to-end Python: the worker of the `vastai` package. Arguments: its backend, a key, a certificate.

Everything else comes from the environment, as Vast sets it; its files lie in the current folder. The key and the
certificate, which it would look for in /etc, are only read with USE_SSL.
"""

import argparse
import ssl
import types
import urllib.parse

from vastai.serverless.server import worker
from vastai.serverless.server.lib import server

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/nowhere")
BENCHMARK = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}


def from_here(key, certificate):
    """A stand-in for the `ssl` module of the worker's server: its contexts take the certificate that is given here."""

    class Context(ssl.SSLContext):
        def load_cert_chain(self, certfile, keyfile=None, password=None):
            super().load_cert_chain(certificate, key)

    def create(purpose):
        return Context(ssl.PROTOCOL_TLS_SERVER)

    return types.SimpleNamespace(create_default_context=create, Purpose=ssl.Purpose)


def work(payload):
    """How much work a request is."""
    return float(payload.get("max_tokens", 1))


def main():
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description="The worker of the package vastai.")
    for name in ("backend", "key", "certificate"):
        parser.add_argument(name)
    chosen = parser.parse_args()
    server.ssl = from_here(chosen.key, chosen.certificate)
    with open("model.log", "w") as log:
        log.write("the model is loaded\n")
    handlers = [
        worker.HandlerConfig(
            route=path,
            allow_parallel_requests=True,
            workload_calculator=work,
            benchmark_config=worker.BenchmarkConfig(dataset=[BENCHMARK], runs=1, concurrency=1, do_warmup=False)
            if path == PATHS[0]
            else None,
        )
        for path in PATHS
    ]
    where = urllib.parse.urlsplit(chosen.backend)
    config = worker.WorkerConfig(
        model_server_url=f"http://{where.hostname}",
        model_server_port=where.port,
        model_log_file="model.log",
        model_healthcheck_url="/health",
        handlers=handlers,
        log_action_config=worker.LogActionConfig(on_load=["the model is loaded"]),
    )
    worker.Worker(config).run(host="127.0.0.1")


if __name__ == "__main__":
    main()

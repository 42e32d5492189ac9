"""Workers' files of the shapes that users have, and their run in a process."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vespa.migrating.reading import ChildResult, read_worker

KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("COVERAGE_")}

VLLM = '''
"""Completions of vLLM: a generator, a parser, and a calculator that counts tokens."""
import os
import random

import nltk
from vastai import BenchmarkConfig, HandlerConfig, LogActionConfig, Worker, WorkerConfig

nltk.download("words")
VOCABULARY = nltk.corpus.words.words()
random.seed(7)


def unwrap(request):
    return request["input"] if request.get("input") is not None else request


def make():
    words = random.choices(range(len(VOCABULARY)), k=3)
    return {"model": os.environ["MODEL_NAME"], "prompt": " ".join(map(str, words)), "max_tokens": 500}


def tokens(request):
    return request.get("max_tokens", 0)


def route(path, **more):
    return HandlerConfig(
        route=path, allow_parallel_requests=True, max_queue_time=600.0, request_parser=unwrap,
        workload_calculator=tokens, **more,
    )


config = WorkerConfig(
    model_server_url="http://127.0.0.1",
    model_server_port=18000,
    model_log_file="/var/log/portal/vllm.log",
    model_healthcheck_url=os.environ.get("MODEL_HEALTH_ENDPOINT", "/health"),
    handlers=[
        route("/v1/completions", benchmark_config=BenchmarkConfig(generator=make, concurrency=10, runs=3)),
        route("/v1/chat/completions"),
    ],
    log_action_config=LogActionConfig(
        on_load=["Application startup complete."], on_error=["Traceback (most recent call last):"], on_info=["Download"]
    ),
)

Worker(config).run()
'''

TGI = '''
"""Text Generation Inference: a data set, and two routes."""
from vastai import BenchmarkConfig, HandlerConfig, LogActionConfig, Worker, WorkerConfig

DATASET = [{"inputs": f"Prompt {number}", "parameters": {"max_new_tokens": 256}} for number in range(4)]


def cost(request):
    return float(request["parameters"]["max_new_tokens"])


def main():
    handlers = [
        HandlerConfig(route=route, allow_parallel_requests=True, max_queue_time=60.0, workload_calculator=cost)
        for route in ("/generate", "/generate_stream")
    ]
    handlers[0].benchmark_config = BenchmarkConfig(dataset=DATASET, runs=2, concurrency=4)
    config = WorkerConfig(
        model_server_url="http://0.0.0.0", model_server_port=5001, model_log_file="/workspace/tgi.log",
        model_healthcheck_url="http://127.0.0.1:5001/health", handlers=handlers,
        log_action_config=LogActionConfig(on_load=['"message":"Connected"'], on_error=["Error: ShardCannotStart"]),
    )
    Worker(config).run()


if __name__ == "__main__":
    main()
'''

COMFYUI = '''
"""ComfyUI behind an API wrapper: a workflow from a file beside this one, one request at a time, the default work."""
import json
import threading
from pathlib import Path

from vastai import BenchmarkConfig, HandlerConfig, LogActionConfig, Worker, WorkerConfig

WORKFLOW = Path(__file__).parent / "misc" / "benchmark.json"


def make():
    return {"input": {"request_id": "test", "workflow_json": json.loads(WORKFLOW.read_text())}}


def wait():
    threading.Event().wait()


config = WorkerConfig(
    model_server_url="http://127.0.0.1", model_server_port=18288, model_log_file="/var/log/portal/api-wrapper.log",
    model_healthcheck_url="/health",
    handlers=[
        HandlerConfig(route="/generate/sync", max_queue_time=10.0, benchmark_config=BenchmarkConfig(generator=make))
    ],
    log_action_config=LogActionConfig(on_load=["BACKENDS_READY"], on_error=["BACKEND_UNRECOVERABLE"], on_info=[]),
)
threading.Thread(target=wait, daemon=True).start()
Worker(config).run()
'''

OLD_TGI = '''
"""A PyWorker from before the package: handlers are classes, and a Backend takes them."""
import dataclasses
import os

from aiohttp import web
from lib.backend import Backend, LogAction
from lib.data_types import EndpointHandler
from lib.server import start_server

from .data_types import InputData


@dataclasses.dataclass
class GenerateHandler(EndpointHandler[InputData]):
    @property
    def endpoint(self):
        return "/generate"

    @property
    def healthcheck_endpoint(self):
        return "http://0.0.0.0:5001/health"

    @classmethod
    def payload_cls(cls):
        return InputData

    def make_benchmark_payload(self):
        return InputData.for_test()

    async def generate_client_response(self, client_request, model_response):
        return web.Response(status=model_response.status)


class StreamHandler(GenerateHandler):
    @property
    def endpoint(self):
        return "/generate_stream"


backend = Backend(
    model_server_url="http://0.0.0.0:5001",
    model_log_file=os.environ["MODEL_LOG"],
    allow_parallel_requests=True,
    benchmark_handler=GenerateHandler(benchmark_runs=3, benchmark_words=256),
    log_actions=[(LogAction.ModelLoaded, '"message":"Connected"'), (LogAction.Info, "Download")],
)
routes = [
    web.post("/generate", backend.create_handler(GenerateHandler())),
    web.post("/generate_stream", backend.create_handler(StreamHandler())),
]

if __name__ == "__main__":
    start_server(backend, routes)
'''
OLD_TGI_DATA = """
import dataclasses

from lib.data_types import ApiPayload


@dataclasses.dataclass
class InputData(ApiPayload):
    inputs: str

    @classmethod
    def for_test(cls):
        return cls("a prompt")

    def generate_payload_json(self):
        return {"inputs": self.inputs, "parameters": {"max_new_tokens": 256}}

    def count_workload(self):
        return 256.0
"""

SHAPES = {"vllm": VLLM, "tgi": TGI, "comfyui": COMFYUI}

SHORT = """
from vastai import BenchmarkConfig, HandlerConfig, Worker, WorkerConfig
"""
"""How a short file begins."""


def write(case: SynchronousTestCase, source: str | bytes, name: str = "worker.py") -> str:
    """A file in a folder of its own."""
    path = Path(case.mktemp()).absolute() / name
    path.parent.mkdir(parents=True)
    path.write_bytes(source if isinstance(source, bytes) else textwrap.dedent(source).encode())
    return str(path)


def write_shape(case: SynchronousTestCase, name: str) -> str:
    """The file of a shape, with what it reads."""
    path = write(case, SHAPES[name])
    if name == "comfyui":
        misc = Path(path).parent / "misc"
        misc.mkdir()
        (misc / "benchmark.json").write_text('{"3": {"class_type": "KSampler", "inputs": {"steps": 20}}}')
    return path


def run(path: str, *, python: str = sys.executable, seconds: float = 20.0, **more: Any) -> ChildResult:
    """What a file tells, in an environment with little in it."""
    environ = {**ENVIRONMENT, "MODEL_NAME": "m", "MODEL_LOG": "/var/log/model.log", **more.pop("environ", {})}
    return read_worker(path, environ, python, seconds=seconds, **{"stand_in": True, **more})

"""The variables that only benchmarks and `start_server.sh` read. They are documented, and never count as misspelt."""

from __future__ import annotations

from functools import partial
from typing import Final

from vespa.config.schema import Option
from vespa.config.values import text

_benchmark = partial(Option, text, section="Built-in benchmarks")
_script = partial(Option, text, section="`start_server.sh`")

OTHERS: Final = (
    _benchmark("", "The model that the benchmark asks for.", name="MODEL_NAME"),
    _benchmark("", "A ComfyUI workflow, JSON, to measure with.", name="VESPA_COMFYUI_BENCHMARK_FILE"),
    _benchmark("", "ComfyUI without a workflow: image width.", name="BENCHMARK_TEST_WIDTH", unit="pixels"),
    _benchmark("", "ComfyUI without a workflow: image height.", name="BENCHMARK_TEST_HEIGHT", unit="pixels"),
    _benchmark("", "ComfyUI without a workflow: steps.", name="BENCHMARK_TEST_STEPS"),
    _benchmark("", "ComfyUI: a workflow to measure with, as in official images.", name="BENCHMARK_JSON_PATH"),
    _benchmark("", "Requests in a row after which a level ends; ComfyUI: rounds.", name="BENCHMARK_RUNS"),
    _benchmark("", "Maximum of requests at once; default 64, ComfyUI 1.", name="BENCHMARK_CONCURRENCY"),
    _benchmark("", "Tokens that each request may generate: 500, TGI 256.", name="BENCHMARK_MAX_TOKENS"),
    _benchmark("", "Words in each prompt: 250, less for small contexts.", name="BENCHMARK_PROMPT_WORDS"),
    _benchmark("", "The route to measure, if a benchmark has several.", name="BENCHMARK_ROUTE"),
    _benchmark("", "`total` also counts the tokens of prompts.", name="BENCHMARK_COUNT"),
    _benchmark("", "Makes the prompts the same in each run.", name="BENCHMARK_SEED"),
    _script("", "Its virtual environment; default: `.venv` beside the script.", name="VESPA_VENV"),
    _script("", "A Python with all packages, instead of an environment.", name="VESPA_PYTHON"),
    _script(
        "https://console.vast.ai/api/v0/sign_cert/", "The signer of this worker's certificate.", name="VESPA_SIGN_URL"
    ),
    _script("5", "Number of tries, with growing pauses.", name="VESPA_SIGN_TRIES"),
)

"""The variables that only benchmarks and `start_server.sh` read. They are documented, and no misspelt names."""

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
    _benchmark("", "ComfyUI: a workflow to measure with, as official images name it.", name="BENCHMARK_JSON_PATH"),
    _benchmark("", "Requests in each place of a level; ComfyUI: rounds.", name="BENCHMARK_RUNS"),
    _benchmark("", "Most requests at once; default 64, ComfyUI 1.", name="BENCHMARK_CONCURRENCY"),
    _benchmark("", "Tokens that each request may generate: 500, TGI 256.", name="BENCHMARK_MAX_TOKENS"),
    _benchmark("", "Words in each prompt: 250, less for small contexts.", name="BENCHMARK_PROMPT_WORDS"),
    _benchmark("", "The route to measure, where a benchmark knows several.", name="BENCHMARK_ROUTE"),
    _benchmark("", "`total` counts the tokens of prompts too.", name="BENCHMARK_COUNT"),
    _benchmark("", "Makes the prompts the same in each run.", name="BENCHMARK_SEED"),
    _script("", "Where its virtual environment is; `.venv` beside the script otherwise.", name="VESPA_VENV"),
    _script("", "An interpreter that has everything installed: no environment is made.", name="VESPA_PYTHON"),
    _script("https://console.vast.ai/api/v0/sign_cert/", "Who signs this worker's certificate.", name="VESPA_SIGN_URL"),
    _script("5", "How often that is tried, with growing pauses.", name="VESPA_SIGN_TRIES"),
)

"""Finding a benchmark module's `get_test_request`."""

from __future__ import annotations

from vespa.benchmarking.loading import import_place
from vespa.loadtest.work import BadWork, TestRequest


def find_test_request(spec: str) -> TestRequest:
    """
    The `get_test_request` of `module`, `path/of/file.py`, or either with `:benchmark` behind it.

    Raises BadWork where there is none, or the import fails.
    """
    place = spec if spec.endswith(".py") else spec.rpartition(":")[0] or spec
    try:
        module = import_place(place)
    except BaseException as error:  # a module may do anything as it is imported, sys.exit too
        if isinstance(error, KeyboardInterrupt):
            raise
        raise BadWork(f"cannot import {place}: {type(error).__name__}: {error}") from error
    function = getattr(module, "get_test_request", None)
    if not callable(function):
        raise BadWork(
            f"{place} has no get_test_request(): it must give (path, payload, cost) of one request to send, "
            "as benchmarks/openai_chat.py does"
        )
    found: TestRequest = function
    return found

"""Finding a benchmark module's `get_test_request`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType

from vespa.loadtest.work import BadWork, TestRequest


def find_test_request(spec: str) -> TestRequest:
    """
    The `get_test_request` of `module`, `path/of/file.py`, or either with `:benchmark` behind it.

    Raises BadWork where there is none, or the import fails.
    """
    place = spec if spec.endswith(".py") else spec.rpartition(":")[0] or spec
    try:
        module = _of_file(place) if place.endswith(".py") else importlib.import_module(place)
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


def _of_file(path: str) -> ModuleType:
    path = os.path.abspath(path)
    sys.path.insert(0, os.path.dirname(path))  # for what it imports in turn
    name = os.path.basename(path).removesuffix(".py")
    if name in sys.modules or not name.isidentifier():
        name = f"load_file_{abs(hash(path))}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None or not os.path.isfile(path):
        raise FileNotFoundError("there is no such file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module

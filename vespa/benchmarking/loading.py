"""Finds a benchmark by its name, and describes errors of it in one line."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from vespa.runtime.importing import import_place

_LONGEST_MESSAGE = 1000
_VESPA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OURS = {
    os.path.join(_VESPA, "benchmarking"),
    os.path.join(_VESPA, "runtime"),
}  # never the place of a benchmark's error
BUILT_IN = ("openai_chat", "tgi", "comfyui")
# Backends without a built-in benchmark of their name, and the benchmark for their protocol.
_SAME = dict.fromkeys("vllm sglang llamacpp llama_cpp ollama openai lmdeploy transformers llm".split(), "openai_chat")

Function = Callable[[str, Any], Awaitable[object]]


class Fault(Exception):
    """The benchmark cannot be used. The message says why, for the worker's log."""


def load(spec: str) -> tuple[Function, str | None]:
    """The coroutine function that `module:function` or `path/of/file.py:function` names, and its file. Raises Fault."""
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise Fault(f"{spec!r} is neither module:function nor path/of/file.py:function")
    try:
        module = import_place(place)
    except BaseException as error:  # a module may do anything as it is imported, sys.exit too
        traceback.print_exc()
        raise Fault(f"cannot import {place}: {describe(error, os.path.abspath(place))}{_nearest(place)}") from error
    function = getattr(module, name, None)
    if function is None:
        near = difflib.get_close_matches(name, [each for each in vars(module) if not each.startswith("_")], n=1)
        raise Fault(f"{place} has no {name}" + (f"; did you mean {place}:{near[0]}?" if near else ""))
    plain = inspect.isfunction(function) and not inspect.iscoroutinefunction(inspect.unwrap(function))
    if plain or not callable(function):
        raise Fault(f"{name} is not a coroutine function: it must be `async def {name}(backend_url, session)`")
    return function, getattr(module, "__file__", None)


def is_built_in(file: str | None) -> bool:
    """Whether `file` is a built-in benchmark. Messages of their errors are complete sentences for the user."""
    built_in = os.path.join(os.path.dirname(_VESPA), "benchmarks")
    return file is not None and os.path.dirname(os.path.abspath(file)) == built_in


def describe(error: BaseException, file: str | None) -> str:
    """The error in one line, with the last place of its traceback that is in `file`, or else the last place of all."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = one_line(error)
    except Exception:
        message = ""
    text = f"{name}: {message}" if message else name
    if isinstance(error, SyntaxError):
        return text  # it contains the place
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if os.path.dirname(frame.filename) not in _OURS
        and not frame.filename.startswith("<frozen")
        and "importlib" not in frame.filename
    ]
    frames = [frame for frame in frames if frame.filename == file] or frames
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name})" if frames else text


def one_line(error: BaseException) -> str:
    """The message of an error in one line, cut off after 1,000 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "…"


def _nearest(place: str) -> str:
    """A hint for a module that cannot be found: which built-in benchmark may have been meant."""
    if place.endswith(".py"):
        return ""
    try:
        if importlib.util.find_spec(place) is not None:
            return ""  # the module is there, but one that it imports is not
    except (ImportError, ValueError, AttributeError):
        pass
    names = [f"benchmarks.{name}" for name in BUILT_IN]
    near = [name for name in names if name.endswith(_SAME.get(place.rpartition(".")[2].lower(), "?"))]
    near = near or difflib.get_close_matches(place, names, n=1, cutoff=0.75)
    if near:
        return f"; did you mean {near[0]}:benchmark?"
    return f"; the built-in ones are {', '.join(f'{name}:benchmark' for name in names)}"

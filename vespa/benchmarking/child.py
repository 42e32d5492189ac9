"""The process that a benchmark runs in, which the worker starts by `isolated.py`.

Descriptor 0 brings one line of JSON, `{"spec", "backend_url", "ca_file", "authorization", "check"}`, and then nothing
for as long as the worker lives; 1 and 2 are the benchmark's to print on; 3 takes lines of JSON: `{"group": process
group}` at once, and at the end `{"result": units of work per second, "concurrency": requests at once}` or `{"error":
message}`. Where `check` is true the benchmark is imported and not run, and the end is `{"checked": true}` or an error.
Started with the argument `1`, as on Windows, where a process is given no more than three descriptors, it answers on 1,
and all that is printed goes to 2.
"""

from __future__ import annotations

import asyncio
import ctypes
import difflib
import importlib
import importlib.util
import inspect
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from vespa.benchmarking.contract import Session, throughput

_LONGEST_MESSAGE = 1000
_PR_SET_PDEATHSIG = 1
_CLEANUP_SECONDS = 1.0
BUILT_IN = ("openai_chat", "tgi", "comfyui")
# What is written for a backend that speaks another's protocol.
_SAME = dict.fromkeys("vllm sglang llamacpp llama_cpp ollama openai lmdeploy transformers llm".split(), "openai_chat")

_Function = Callable[[str, Session], Awaitable[object]]


class Fault(Exception):
    """What is wrong with the benchmark, in words for the worker's log."""


def main() -> None:
    orders, answers = _take_descriptors(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    _die_with_worker()
    try:
        os.setsid()  # whatever the benchmark starts is then ended with it
        _answer(answers, {"group": os.getpid()})
    except (OSError, AttributeError):  # Windows has no groups
        pass
    order = json.loads(_first_line(orders))
    threading.Thread(target=_watch, args=(orders,), daemon=True).start()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    _perform(order, lambda answer: _answer(answers, answer))


def load(spec: str) -> tuple[_Function, str | None]:
    """The coroutine function that `module:function` or `path/of/file.py:function` names, and the file it is in.

    Fault says why there is none.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise Fault(f"{spec!r} is neither module:function nor path/of/file.py:function")
    try:
        module = _module_of_file(place) if place.endswith(".py") else importlib.import_module(place)
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


def _nearest(place: str) -> str:
    """What may have been meant by a module that cannot be found: a built-in benchmark."""
    if place.endswith(".py"):
        return ""
    try:
        if importlib.util.find_spec(place) is not None:
            return ""  # it is there, and what it imports is not
    except (ImportError, ValueError, AttributeError):
        pass
    built_in = [f"benchmarks.{name}:benchmark" for name in BUILT_IN]
    names = [f"benchmarks.{name}" for name in BUILT_IN]
    near = [name for name in names if name.endswith(_SAME.get(place.rpartition(".")[2].lower(), "?"))]
    near = near or difflib.get_close_matches(place, names, n=1, cutoff=0.75)
    if near:
        return f"; did you mean {near[0]}:benchmark?"
    return f"; the built-in ones are {', '.join(built_in)}"


def _is_built_in(file: str | None) -> bool:
    """Whether a benchmark's file is one of Vespa's, whose errors are sentences about the backend or a setting."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return file is not None and os.path.dirname(os.path.abspath(file)) == os.path.join(root, "benchmarks")


def describe(error: BaseException, file: str | None) -> str:
    """The error in one line, with the place in `file` that it came through, or else the place that it came from."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = " ".join(str(error).split())
    except Exception:
        message = ""
    text = f"{name}: {message}" if message else name
    if len(text) > _LONGEST_MESSAGE:
        text = text[:_LONGEST_MESSAGE] + "…"
    if isinstance(error, SyntaxError):
        return text  # which says itself where
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<frozen") and "importlib" not in frame.filename
    ]
    frames = [frame for frame in frames if frame.filename == file] or frames
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name})" if frames else text


def _take_descriptors(answering: int) -> tuple[int, int]:
    """Move 0 and the one to answer on to where no process that the benchmark starts will have them; 0 becomes empty."""
    orders, answers = os.dup(0), os.dup(answering)  # dup gives descriptors that are not inherited
    if answering == 1:
        os.dup2(2, 1)
    else:
        os.close(answering)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return orders, answers


def _die_with_worker() -> None:
    """Have the kernel kill this process when the worker ends, whatever the benchmark is doing then (Linux)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError, TypeError):
        pass


def _watch(orders: int) -> None:
    """End this process and all it started once the worker has closed its end, or has ended."""
    while os.read(orders, 4096):
        pass
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _first_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(descriptor, 65536)
        if not data:
            raise SystemExit(1)  # the worker is gone already
        line += data
    return line


def _answer(descriptor: int, answer: dict[str, Any]) -> None:
    os.write(descriptor, json.dumps(answer).encode() + b"\n")


def _perform(order: dict[str, Any], answer: Callable[[dict[str, Any]], None]) -> None:
    """Run the benchmark under asyncio with Twisted on the same loop, and answer exactly once."""
    from twisted.internet import asyncioreactor

    loop = asyncio.SelectorEventLoop()  # of Windows' other one Twisted knows nothing
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
    # These are imported once the reactor is what it must be: an import of theirs might choose another.
    reactor: Any = importlib.import_module("twisted.internet.reactor")
    from vespa.benchmarking.aiohttp_names import names
    from vespa.benchmarking.session import provide_aiohttp
    from vespa.benchmarking.session_agent import backend_client

    backend_url, authorization = order["backend_url"], order["authorization"]
    session_class = provide_aiohttp(reactor, backend_url, authorization)
    try:
        function, file = load(order["spec"])
        if order["check"]:
            answer({"checked": True})
            return
        client = backend_client(reactor, backend_url, order["ca_file"], authorization)
    except (Fault, OSError, ValueError) as error:
        answer({"error": str(error)})
        return

    async def run() -> None:
        try:
            async with session_class(backend_url, client=client) as session:
                value = await function(backend_url, session)
            try:
                answer({"result": throughput(value), "concurrency": getattr(value, "concurrency", 0)})
            except ValueError as error:
                answer({"error": f"its result is wrong: {error}"})
        except BaseException as error:
            if _is_built_in(file) and isinstance(error, (RuntimeError, ValueError, OSError, names().ClientError)):
                answer({"error": " ".join(str(error).split())[:_LONGEST_MESSAGE] or type(error).__name__})
            else:
                traceback.print_exc()
                answer({"error": describe(error, file)})
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CLEANUP_SECONDS)

    def begin() -> None:
        loop.create_task(run()).add_done_callback(lambda task: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)


def _module_of_file(path: str) -> ModuleType:
    """Import one file, with its own folder at the end of the path for what it imports in turn."""
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {path}")
    if os.path.dirname(path) not in sys.path:
        sys.path.append(os.path.dirname(path))
    name = os.path.basename(path).removesuffix(".py")
    if name in sys.modules or not name.isidentifier():
        name = f"benchmark_file_{abs(hash(path))}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None and found.loader is not None, path
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module

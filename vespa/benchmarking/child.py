"""The main program of the benchmark's process, which the worker starts through `isolated.py`. It uses asyncio alone.

Descriptor 0: the worker writes one line of JSON, `{"spec", "backend_url", "ca_file", "authorization", "check"}`, and
    keeps the descriptor open. When it is closed, this process ends.
Descriptors 1 and 2: what the benchmark prints.
Descriptor 3: this process writes lines of JSON. First `{"group": process group}`; at the end `{"result": units of work
    per second, "concurrency": requests at once}` or `{"error": message}`. With `check`, the benchmark is imported but
    not called, and the last line is `{"checked": true}` or an error. Before that, while the benchmark runs, any number
    of `{"level": a Level's values}` and `{"progress": share}`.

With the argument `1`, as on Windows, where a process gets only three descriptors, it answers on 1 and prints on 2.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import aiohttp

from vespa.benchmarking.contract import listen, throughput
from vespa.benchmarking.loading import Fault, Function, describe, is_built_in, load, one_line
from vespa.benchmarking.session import BackendSession, backend_session
from vespa.runtime.parent_death import signal_at_parent_death

_Answer = Callable[[dict[str, Any]], None]


def main() -> None:
    orders, answers = _take_descriptors(_answering())

    def answer(said: dict[str, Any]) -> None:
        os.write(answers, json.dumps(said).encode() + b"\n")

    try:
        signal_at_parent_death(signal.SIGKILL)
        os.setsid()  # so that the worker can end whatever the benchmark starts
        answer({"group": os.getpid()})
    except (OSError, AttributeError):  # Windows has no SIGKILL and no groups
        pass
    line = open(orders, "rb", buffering=0, closefd=False).readline()
    if not line.endswith(b"\n"):
        return  # the worker has ended already
    order = json.loads(line)
    threading.Thread(target=_watch, args=(orders,), daemon=True).start()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    _perform(order, answer)


def _perform(order: dict[str, Any], answer: _Answer) -> None:
    """Import the benchmark, run it unless the order is to check it, and answer exactly once."""
    try:
        function, file = load(order["spec"])
    except Fault as error:
        answer({"error": str(error)})
        return
    if order["check"]:
        answer({"checked": True})
    else:
        asyncio.run(_run(function, file, order, answer))


async def _run(function: Function, file: str | None, order: dict[str, Any], answer: _Answer) -> None:
    try:
        session = backend_session(order["backend_url"], order["ca_file"], order["authorization"])
    except (OSError, ValueError) as error:
        answer({"error": str(error)})
        return
    listen(answer)
    async with session:
        # Before asyncio.run ends: tasks that ignore their cancellation block it, until the worker ends this process.
        answer(await _outcome(function, file, order["backend_url"], session))


def _built_in_error(error: BaseException) -> str:
    """What went wrong in a built-in benchmark, in a sentence."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno == errno.ECONNREFUSED:
        return f"no server listens at {error.host}:{error.port}: the backend is not up yet, or its URL is wrong"
    return one_line(error) or type(error).__name__


async def _outcome(function: Function, file: str | None, backend_url: str, session: BackendSession) -> dict[str, Any]:
    """Run the benchmark, and return the answer."""
    try:
        value = await function(backend_url, session)
    except BaseException as error:
        if is_built_in(file) and isinstance(error, (RuntimeError, ValueError, OSError, aiohttp.ClientError)):
            return {"error": _built_in_error(error)}
        traceback.print_exc()
        return {"error": describe(error, file)}
    try:
        return {"result": throughput(value), "concurrency": getattr(value, "concurrency", 0)}
    except ValueError as error:
        return {"error": f"its result is wrong: {error}"}


def _answering() -> int:
    """The descriptor for the answers, from the command line. Raises SystemExit unless it is open."""
    parser = argparse.ArgumentParser(
        prog="isolated.py",
        description="Runs a benchmark. The worker starts this process, and writes to it what to run.",
    )
    parser.add_argument(
        "descriptor", nargs="?", type=int, choices=(1, 3), default=3, help="where the answers go (default: %(default)s)"
    )
    chosen: int = parser.parse_args().descriptor
    try:
        os.fstat(chosen)
    except OSError:
        parser.error(f"descriptor {chosen} is not open. To measure a backend, run `vespa-proxy benchmark`")
    return chosen


def _take_descriptors(answering: int) -> tuple[int, int]:
    """Move 0 and `answering` to descriptors that no other process inherits, and return them. 0 is then empty."""
    orders, answers = os.dup(0), os.dup(answering)
    if answering == 1:
        os.dup2(2, 1)
    else:
        os.close(answering)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return orders, answers


def _watch(orders: int) -> None:
    """Wait until the worker closes `orders` or ends; then end this process and all that it started."""
    while os.read(orders, 4096):
        pass
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)

"""The main program of the process that runs a worker's file, started by `start.py`. It uses Python's library alone.

Standard input has an Order as one line of JSON, and stays open until the parent ends. The result is an Answer as JSON
in the file that the order names. It is written once when the file has told all, and once more when the benchmark's
requests are there. messages.py has both.
"""

from __future__ import annotations

import argparse
import faulthandler
import linecache
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterable
from dataclasses import replace
from types import ModuleType
from typing import Final, NoReturn

from vespa.migrating import official, stand_in
from vespa.migrating.checked_json import FormError, read
from vespa.migrating.confinement import confine
from vespa.migrating.description import add_requests, describe, text, without_requests
from vespa.migrating.messages import Answer, End, Order, write
from vespa.migrating.programs import record_programs
from vespa.migrating.recorder import Recorder
from vespa.migrating.supervisor import supervise

LARGEST_ORDER: Final = 8 * 1024 * 1024
LARGEST_SOURCE: Final = 4 * 1024 * 1024
FOLDERS_ABOVE: Final = 3
"""How many folders above the file's own are searched for modules: PyWorkers are started in the repository's root."""

_FRAME: Final = re.compile(r'  File "(.*)", line (\d+) in ')


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="start.py",
        description="Runs a worker's file. `vespa-proxy migrate` starts this process, and writes to it what to run.",
    )
    parser.parse_args()
    try:
        order = read(Order, open(0, "rb", buffering=0, closefd=False).readline(LARGEST_ORDER))
    except FormError as error:
        parser.error(f"standard input has no order: {error}. Run `vespa-proxy migrate` instead")
    supervise(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    Run(order).run()


class Run:
    """One run of a file."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._file = order.file
        self._folder = os.path.dirname(self._file)
        self._above = _folders_above(self._folder)
        self._recorder = Recorder(self._served)
        self._package = self._package_error = ""
        self._answering = threading.Lock()
        self._pid = os.getpid()
        self._main = threading.main_thread().ident or 0

    def run(self) -> NoReturn:
        """Run the file, answer, and end this process."""
        os.chdir(self._folder)
        sys.argv = [self._file, *self._order.arguments]
        sys.path[:0] = [self._folder]
        sys.path += [each for each in self._above if each not in sys.path]
        confine()
        clock = threading.Timer(self._order.seconds, self._late)
        clock.daemon = True
        clock.start()
        try:
            self._execute()
            for thread in threading.enumerate():
                if not thread.daemon and thread is not threading.current_thread():
                    thread.join()  # it may be what runs the worker
        except SystemExit as exit:
            self._answer(replace(self._place_of(exit), how="exited", message=text(exit.code)))
        except BaseException as error:
            traceback.print_exc()
            module = text(error.name) if isinstance(error, ModuleNotFoundError) else ""
            what = text(type(error).__name__)
            self._answer(replace(self._place_of(error), type=what, message=text(_message(error)), module=module))
        self._answer(End("finished"))

    def _execute(self) -> None:
        with open(self._file, "rb") as file:
            source = file.read(LARGEST_SOURCE + 1)
        if len(source) > LARGEST_SOURCE:
            raise ValueError(f"the file has more than {LARGEST_SOURCE} bytes")
        old = b"from lib.backend import" in source or b"from lib.server import" in source
        self._install(old)
        record_programs(self._recorder)  # from here on, because the package starts some too
        code = compile(source, self._file, "exec", dont_inherit=True)
        module = ModuleType("__main__")
        package = ".".join(os.path.basename(each) for each in reversed([self._folder, *self._above[:1]]))
        vars(module).update(__file__=self._file, __package__=package, __builtins__=__builtins__)
        sys.modules["__main__"] = module
        exec(code, vars(module))

    def _install(self, old: bool) -> None:
        if not self._order.stand_in and not old:
            try:
                self._package = official.install(self._recorder)
            except ModuleNotFoundError as error:
                if (error.name or "").partition(".")[0] != "vastai":
                    self._package_error = text(error)
            except ImportError as error:
                self._package_error = text(error)
        if self._package:
            stand_in.install_words()
        else:
            for name in [name for name in sys.modules if name.partition(".")[0] == "vastai"]:
                del sys.modules[name]
            stand_in.install(self._recorder, old=old)

    def _served(self) -> NoReturn:
        self._answer(End("served"))

    def _late(self) -> None:
        path = self._order.answer + ".stacks"
        with open(path, "w+", encoding="utf-8", errors="replace") as file:
            faulthandler.dump_traceback(file)
            file.seek(0)
            frames = main_thread_frames(file.read(), self._main)
        self._answer(replace(self._place(frames), how="late"))

    def _place_of(self, error: BaseException) -> End:
        if isinstance(error, SyntaxError) and error.filename == self._file:
            return End("raised", file=self._file, line=max(0, error.lineno or 0), source=text(error.text).strip())
        frames = traceback.walk_tb(error.__traceback__)
        return self._place((frame.f_code.co_filename, line) for frame, line in frames)

    def _place(self, frames: Iterable[tuple[str, int]]) -> End:
        """An end at the innermost of these places that is in the file, or else in a module beside it."""
        own: tuple[str, int] = ("", 0)
        beside: tuple[str, int] = ("", 0)
        for name, line in frames:
            if name == self._file:
                own = (name, line)
            elif name.startswith(self._folder + os.sep):
                beside = (name, line)
        file, line = own if own[0] else beside
        source = text(linecache.getline(file, line)).strip() if file else ""
        return End("raised", file=text(file), line=line or 0, source=source)

    def _answer(self, end: End) -> NoReturn:
        """Write the answer and end this process. The first caller does it; any other one waits for that."""
        if os.getpid() != self._pid:
            os._exit(0)  # a fork of this process
        self._answering.acquire()
        answer = Answer(
            end,
            package=text(self._package),
            package_error=self._package_error,
            unknown=[text(each) for each in self._recorder.unknown[:100]],
            options=self._recorder.options,
            programs=self._recorder.programs,
            workers=len(self._recorder.workers),
        )
        try:
            if self._recorder.config is not None:
                found, origins = describe(self._recorder.config)
                why = "its requests did not come within the time limit"
                answer.found = without_requests(found, why)
                self._write(answer)
                add_requests(found, origins)
                answer.found = found
        except BaseException as error:
            traceback.print_exc()
            answer.end = End("unreadable", type=text(type(error).__name__), message=text(_message(error)))
        self._write(answer)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                pass
        os._exit(0)

    def _write(self, answer: Answer) -> None:
        path = self._order.answer
        with open(path + ".part", "w", encoding="ascii") as file:
            file.write(write(answer))
        os.replace(path + ".part", path)


def main_thread_frames(stacks: str, main: int) -> list[tuple[str, int]]:
    """The files and lines of the main thread, the outermost first, in the text of faulthandler."""
    found: list[tuple[str, int]] = []
    here = False
    for line in stacks.splitlines():
        if "hread 0x" in line:
            here = f"0x{main:016x}" in line
        elif here and (frame := _FRAME.match(line)):
            found.append((frame[1], int(frame[2])))
    return found[::-1]


def _message(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())
    except Exception:
        return ""


def _folders_above(folder: str) -> list[str]:
    """The folders above this one, the nearest first; none above a repository's root, and never the root folder."""
    found: list[str] = []
    while len(found) < FOLDERS_ABOVE and not os.path.exists(os.path.join(folder, ".git")):
        folder = os.path.dirname(folder)
        if folder == os.path.dirname(folder):
            break
        found.append(folder)
    return found

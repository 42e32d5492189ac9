"""The main program of the process that runs a worker's file, started by `start.py`. It uses Python's library alone.

Standard input has one line of JSON, and stays open until the parent ends: `{"file", "arguments", "stand_in", "seconds",
"answer"}`. `stand_in`: do not use an
installed package `vastai`. The result is JSON in the file `answer`, which is written once when the file has told all,
and once more when the benchmark's requests are there:

    {"package": release or "", "package_error": why the installed one was not used, "found": a description or null,
     "end": {"how": "served" | "finished" | "raised" | "exited" | "late" | "unreadable", "type", "message", "module",
             "file", "line", "source"}, "unknown": names, "options": of run(), "programs": names,
     "workers": how many were made}
"""

from __future__ import annotations

import faulthandler
import json
import linecache
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterable
from types import ModuleType
from typing import Any, Final, NoReturn

from vespa.migrating import official, stand_in
from vespa.migrating.confinement import confine
from vespa.migrating.description import add_requests, describe, text, without_requests
from vespa.migrating.programs import record_programs
from vespa.migrating.recorder import Recorder
from vespa.migrating.supervisor import supervise

LARGEST_SOURCE: Final = 4 * 1024 * 1024
FOLDERS_ABOVE: Final = 3
"""How many folders above the file's own are searched for modules: PyWorkers are started in the repository's root."""

_FRAME: Final = re.compile(r'  File "(.*)", line (\d+) in ')


def main() -> None:
    order = json.loads(open(0, "rb", buffering=0, closefd=False).readline())
    supervise(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    Run(order).run()


class Run:
    """One run of a file."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._file: str = order["file"]
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
        sys.argv = [self._file, *self._order["arguments"]]
        sys.path[:0] = [self._folder]
        sys.path += [each for each in self._above if each not in sys.path]
        confine()
        clock = threading.Timer(self._order["seconds"], self._late)
        clock.daemon = True
        clock.start()
        try:
            self._execute()
            for thread in threading.enumerate():
                if not thread.daemon and thread is not threading.current_thread():
                    thread.join()  # it may be what runs the worker
        except SystemExit as exit:
            self._answer({"how": "exited", "message": text(exit.code), **self._place_of(exit)})
        except BaseException as error:
            traceback.print_exc()
            module = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
            what = {"type": type(error).__name__, "message": text(_message(error)), "module": text(module)}
            self._answer({"how": "raised", **what, **self._place_of(error)})
        self._answer({"how": "finished"})

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
        if not self._order["stand_in"] and not old:
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
        self._answer({"how": "served"})

    def _late(self) -> None:
        path = self._order["answer"] + ".stacks"
        with open(path, "w+", encoding="utf-8", errors="replace") as file:
            faulthandler.dump_traceback(file)
            file.seek(0)
            frames = main_thread_frames(file.read(), self._main)
        self._answer({"how": "late", **self._place(frames)})

    def _place_of(self, error: BaseException) -> dict[str, Any]:
        if isinstance(error, SyntaxError) and error.filename == self._file:
            return {"file": self._file, "line": error.lineno or 0, "source": text(error.text).strip()}
        frames = traceback.walk_tb(error.__traceback__)
        return self._place((frame.f_code.co_filename, line) for frame, line in frames)

    def _place(self, frames: Iterable[tuple[str, int]]) -> dict[str, Any]:
        """The innermost of these places that is in the file, or else in a module beside it."""
        own: tuple[str, int] = ("", 0)
        beside: tuple[str, int] = ("", 0)
        for name, line in frames:
            if name == self._file:
                own = (name, line)
            elif name.startswith(self._folder + os.sep):
                beside = (name, line)
        file, line = own if own[0] else beside
        return {"file": file, "line": line, "source": text(linecache.getline(file, line)).strip() if file else ""}

    def _answer(self, end: dict[str, Any]) -> NoReturn:
        """Write the answer and end this process. The first caller does it; any other one waits for that."""
        if os.getpid() != self._pid:
            os._exit(0)  # a fork of this process
        self._answering.acquire()
        answer: dict[str, Any] = {
            "package": self._package,
            "package_error": self._package_error,
            "end": end,
            "found": None,
            "unknown": [text(each) for each in self._recorder.unknown[:100]],
            "options": self._recorder.options,
            "programs": self._recorder.programs,
            "workers": len(self._recorder.workers),
        }
        try:
            if self._recorder.config is not None:
                found = describe(self._recorder.config)
                why = "its requests did not come within the time limit"
                answer["found"] = without_requests(found, why)
                self._write(answer)
                add_requests(found)
                answer["found"] = found
        except BaseException as error:
            traceback.print_exc()
            answer["end"] = {"how": "unreadable", "type": type(error).__name__, "message": text(_message(error))}
        self._write(answer)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                pass
        os._exit(0)

    def _write(self, answer: dict[str, Any]) -> None:
        path = self._order["answer"]
        with open(path + ".part", "w", encoding="ascii") as file:
            json.dump(answer, file)
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

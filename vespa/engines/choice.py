"""The kind of engine that a setting names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from vespa.engines.comfyui import ComfyUI
from vespa.engines.comfyui_wrapper import ComfyUIWrapper
from vespa.engines.interface import JobKind, Stopper
from vespa.engines.sglang import SGLang
from vespa.engines.user_functions import UserAbort, UserJobs
from vespa.runtime.importing import import_place

STOPPERS: Final[dict[str, Callable[[], Stopper]]] = {
    "comfyui": ComfyUI,
    "comfyui-wrapper": ComfyUIWrapper,
    "sglang": SGLang,
}
JOB_KINDS: Final[dict[str, Callable[[], JobKind]]] = {"comfyui": ComfyUI, "comfyui-wrapper": ComfyUIWrapper}


def stopper(name: str) -> Stopper:
    """The engine's way to stop work. Raises ValueError with the reason if a function cannot be used."""
    return STOPPERS[name]() if name in STOPPERS else UserAbort(imported(name))


def job_kind(name: str) -> JobKind:
    """The engine's kind of jobs. Raises ValueError with the reason if a function cannot be used."""
    return JOB_KINDS[name]() if name in JOB_KINDS else UserJobs(imported(name))


def imported(place: str) -> Callable[..., Any]:
    """The function at `module:function` or `/a.py:function`. Raises ValueError with the reason."""
    module, _, name = place.rpartition(":")
    try:
        found = import_place(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            there_is = f"there is no module {module} among the installed ones"
            raise ValueError(f"{there_is}: name its file instead, such as ./{module}.py:{name}") from None
        raise ValueError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error
    if not hasattr(found, name):
        raise ValueError(f"{module} has no {name}")
    function: Callable[..., Any] = getattr(found, name)
    if not callable(function):
        raise ValueError(f"{place} is not a function")
    return function

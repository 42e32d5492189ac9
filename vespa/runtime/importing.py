"""Imports what a user names: a module, or a file by its path."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType


def import_place(place: str) -> ModuleType:
    """Import a module by its name, or a file by its path, which ends in `.py`.

    The file's folder is added at the end of the path for the file's own imports, so nothing beside it can replace an
    installed module. Raises FileNotFoundError, ImportError, and any error of the module itself.
    """
    if not place.endswith(".py"):
        return importlib.import_module(place)
    path = os.path.abspath(place)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {path}")
    if os.path.dirname(path) not in sys.path:
        sys.path.append(os.path.dirname(path))
    name = os.path.basename(path).removesuffix(".py")
    if name in sys.modules or not name.isidentifier():
        name = f"imported_file_{abs(hash(path))}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None and found.loader is not None, path
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module

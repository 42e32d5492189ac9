"""Importing what a user names: a module, or a file by its path."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType


def import_place(place: str) -> ModuleType:
    """Import a module by its name, or a file by its path, which ends in `.py`.

    The file's folder comes last on the path, for what it imports in turn: nothing beside it takes the place of what is
    installed. Raises FileNotFoundError, ImportError, and whatever the module raises as it is imported.
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

"""The script that starts the benchmark's process, with a module search path that other files cannot take over.

`python -m` and `python -c` put the current folder first on the path, where a file `ctypes.py` would be imported in
place of Python's own. `-P` prevents that, but only since Python 3.11. `-I` also ignores PYTHONPATH and packages of the
user, which a benchmark may need.
"""

import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_OURS = os.path.dirname(os.path.dirname(_HERE))


def isolate(path: list[str], folder: str) -> None:
    """
    Change `path`, the module search path of a script, to what a benchmark gets.

    The script's own folder and all entries for the current folder are removed. `folder`, the current folder, is added
    at the end, after Python's own and installed modules: a benchmark can import from it, but it replaces nothing.
    """
    # By its name, not as the first entry: with PYTHONSAFEPATH the script's folder is not there.
    path[:] = [each for each in path if each not in ("", ".", folder, _OURS, _HERE)]
    path += [_OURS, folder]


def take_own(name: str) -> None:
    """Import the package `name` from beside this `vespa`, even if another one of that name comes first on the path."""
    folder = os.path.join(_OURS, name)
    file = os.path.join(folder, "__init__.py")
    if not os.path.isfile(file):
        return
    found = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[folder])
    assert found is not None and found.loader is not None, file
    module = sys.modules[name] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)


def main() -> None:
    """Isolate this process, then run child.py in it."""
    isolate(sys.path, os.getcwd())
    for name in ("vespa", "benchmarks"):
        take_own(name)
    from vespa.benchmarking import child

    child.main()


if __name__ == "__main__":
    main()

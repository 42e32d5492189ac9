"""Starts the benchmark's process with a Python path of its own: run as a script, by its file name.

`python -m` and `python -c` put the current folder first on the path, where a `ctypes.py` of somebody's would run in
place of Python's. `-P`, which leaves it out, came with Python 3.11; `-I` ignores PYTHONPATH, and what users installed.
"""

import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_OURS = os.path.dirname(os.path.dirname(_HERE))


def isolate(path: list[str], folder: str) -> None:
    """
    Make of `path`, as a script finds it, what a benchmark is to see; change it in place.

    The script's own folder goes, as do entries that mean "wherever I am". The current folder, `folder`, comes last,
    after Python's own modules and what is installed: modules of the user's are found there, and replace nothing.
    """
    # With PYTHONSAFEPATH the first entry is not the script's folder, and another's must not go for it.
    path[:] = [each for each in path if each not in ("", ".", folder, _OURS, _HERE)]
    path += [_OURS, folder]


def take_own(name: str) -> None:
    """Have the package `name` be the one beside this `vespa`, wherever on the path another one of that name is."""
    folder = os.path.join(_OURS, name)
    file = os.path.join(folder, "__init__.py")
    if not os.path.isfile(file):
        return
    found = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[folder])
    assert found is not None and found.loader is not None, file
    module = sys.modules[name] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)


def main() -> None:
    """Isolate this process, and be the benchmark's child."""
    isolate(sys.path, os.getcwd())
    for name in ("vespa", "benchmarks"):
        take_own(name)
    from vespa.benchmarking import child

    child.main()


if __name__ == "__main__":
    main()

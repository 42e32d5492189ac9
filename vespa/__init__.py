"""Vespa, a serverless proxy for Vast.ai."""

# The version where neither an installation nor a git tag tells it: the newest release (CONTRIBUTING.md, "Release").
NEWEST_RELEASE = "1.0.0"

__version__: str


def __getattr__(name):  # type: ignore[no-untyped-def]  # Pythons too old for the rest read this file, and say so
    """Look up `__version__` at its first use. An installed package has its version from git's tags."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    global __version__
    try:
        __version__ = version("vespa-proxy")
    except PackageNotFoundError:  # a checkout that only stands on PYTHONPATH
        __version__ = NEWEST_RELEASE + "+checkout"
    return __version__

"""The built-in benchmarks of a backend's throughput. BENCHMARKS.md explains how to write your own."""

from pkgutil import extend_path

# A folder `benchmarks` of yours on Python's path adds its modules to these.
__path__ = extend_path(__path__, __name__)

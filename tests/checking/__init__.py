"""Tests of `vespa-proxy check` and `vespa-proxy benchmark`."""

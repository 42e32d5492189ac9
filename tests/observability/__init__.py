"""Tests of `vespa.observability`."""

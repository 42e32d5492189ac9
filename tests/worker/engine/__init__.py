"""Tests of `vespa.worker`."""

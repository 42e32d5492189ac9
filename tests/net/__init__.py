"""Tests of `vespa.net`."""

"""Tests of vespa.protocol."""

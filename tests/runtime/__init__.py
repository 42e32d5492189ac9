"""Tests of vespa.runtime."""

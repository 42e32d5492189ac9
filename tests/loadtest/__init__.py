"""Tests of vespa.loadtest."""

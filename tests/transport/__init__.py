"""Tests of vespa.transport."""

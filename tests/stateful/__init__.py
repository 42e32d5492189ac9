"""Tests of vespa.stateful."""

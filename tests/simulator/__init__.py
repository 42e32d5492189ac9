"""Tests of vespa.simulator."""

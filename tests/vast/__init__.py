"""Tests of vespa.vast."""

"""Tests of vespa.http."""

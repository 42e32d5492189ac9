"""Tests of vespa.accounting."""

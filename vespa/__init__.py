"""Vespa, a serverless proxy for Vast.ai."""

__version__ = "1.0.0"

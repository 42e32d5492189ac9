"""Vast.ai's messages as values. Nothing here imports Twisted or reads a clock."""

"""Accounting and admission of requests. Nothing here imports Twisted. Time is an argument."""

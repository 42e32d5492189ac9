"""What a worker counts, and what it admits. Nothing here imports Twisted; time is passed in."""

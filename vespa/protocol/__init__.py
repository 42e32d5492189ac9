"""HTTP/1.1 messages as bytes and values. Nothing here imports Twisted or reads a clock."""

"""Sessions of a worker's that callers open through the client, by name or with `VastClient.session()`."""

"""The built-in benchmarks, against backends in memory."""

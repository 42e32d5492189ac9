"""Many requests of every kind at once in one process, where everything that could be left over can be counted."""

"""Laws of the functional core."""

"""The load tester: many requests at a steady rate, and a report of what became of them."""

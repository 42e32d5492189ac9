"""The code that worker and client share: one request from its head to its end."""

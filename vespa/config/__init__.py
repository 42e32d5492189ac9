"""The settings of all commands: their tables, their reader and their documentation."""

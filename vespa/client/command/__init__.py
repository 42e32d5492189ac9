"""The client's command line: its options, its questions, and what people see while it runs."""

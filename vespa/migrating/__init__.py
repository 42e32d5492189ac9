"""`vespa-proxy migrate`: makes Vespa's environment and a benchmark of an official worker's file."""

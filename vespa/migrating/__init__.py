"""`vespa-proxy migrate`: makes Vespa's environment and a benchmark of a PyWorker's file."""

"""Laws of `deploy/`: what it names exists, and what can be run without a container engine and a cluster runs."""

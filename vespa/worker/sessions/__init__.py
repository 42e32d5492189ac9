"""Sessions: requests that belong together, and stay at one worker and one backend."""

"""Offloaded work: queues, the envelope that jobs travel in, the worker, and the endpoints that show jobs."""

"""A load test: locust users against the demo on several workers and a real Valkey, and what must be true at the end."""

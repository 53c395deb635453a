"""Thumbnails of uploaded pictures: work for a CPU, done by workers and paid for."""

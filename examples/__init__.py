"""Runnable services, each with its policies in one file beside it."""

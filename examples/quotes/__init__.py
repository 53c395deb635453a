"""Prices from a server that fails now and then, and what keeps its failures from spreading."""

"""Real servers on loopback, and what loads them."""

"""The console: how the service stands, live, and what an operator may do about it, on one page."""

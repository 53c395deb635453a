"""Stores: where decisions are made and state is kept, in this process or on Redis and Valkey."""

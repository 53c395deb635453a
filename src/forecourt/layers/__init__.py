"""One file, one layer, one policy: thin shells over `core` and the exchange."""

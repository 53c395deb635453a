"""The packages that spans, metrics and logs are made with, each imported in one module and only where it is there."""

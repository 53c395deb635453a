"""forecourt: one config says what protects each endpoint, one ordered stack enforces it."""

__version__ = "0.1.0"

"""An example: reports that cost CPU, made by workers."""

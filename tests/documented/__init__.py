"""What the pages of the docs show, taken apart and run: their Python, and their commands."""

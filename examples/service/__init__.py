"""A service of twelve endpoints and more, as teams have them: every policy in one file, every handler plain."""

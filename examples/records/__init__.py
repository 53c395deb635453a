"""A service of records on SQLite: plain handlers, and one file that says what protects them."""

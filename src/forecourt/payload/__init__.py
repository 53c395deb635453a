"""Content that is sealed from end to end: what opens it, what seals it, and whose keys those are."""

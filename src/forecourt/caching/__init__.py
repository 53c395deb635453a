"""The cache of a process: its tier in memory, the log that guards it, and the work that callers share."""

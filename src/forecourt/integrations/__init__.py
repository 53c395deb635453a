"""What fits forecourt to a framework's own extras."""

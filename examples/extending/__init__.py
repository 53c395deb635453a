"""What someone else adds to forecourt, from outside of it: layers and a store of their own."""

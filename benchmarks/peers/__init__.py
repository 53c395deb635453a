"""The peers, each set up as its own README says, on the same handler and the same allowance."""

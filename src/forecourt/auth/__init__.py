"""Who is calling: tokens, keys and proofs, verified; each module one way to show who one is."""

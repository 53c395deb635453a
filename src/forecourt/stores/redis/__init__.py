"""The store on Redis or Valkey: one multiplexed connection per node and lane, one script per trip."""

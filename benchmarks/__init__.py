"""What each layer costs, beside its peers: one harness, groups of benchmarks, and a load test. See scripts/bench."""

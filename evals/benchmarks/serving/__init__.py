"""The model, the load and the peers of the serving benchmarks."""

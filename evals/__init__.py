"""Whether it works: the SimShop world, the demo, benchmarks."""

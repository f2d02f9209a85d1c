"""Benchmarks, each against a named peer measured in the same run: `python -m evals.benchmarks [NAME…] [options]`."""

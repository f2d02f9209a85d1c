"""Benchmarks: each module shows one thing, and prints it with what it is held against."""

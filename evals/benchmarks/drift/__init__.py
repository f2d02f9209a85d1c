"""The parts of the drift benchmark. Those that measure run in a peer's environment: standard library and NumPy only."""

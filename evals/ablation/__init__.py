"""The seed's ablation A4: the same shop with and without the Guardian."""

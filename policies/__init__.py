"""What may be done: typed declarations and the rules over them. Pure: no I/O but reading a declarations file."""

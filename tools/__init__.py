"""What can be done: the five typed tools, and the systems they act on."""

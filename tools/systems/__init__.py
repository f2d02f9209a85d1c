"""What tools act on, each behind one small class."""

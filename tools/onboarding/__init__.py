"""From a user's own table to a guarded model: reading it, detecting what it holds, writing a working folder."""

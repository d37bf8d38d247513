"""This room is the command line: the only one that knows click and rich."""

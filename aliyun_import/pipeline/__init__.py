"""This room knows the order of the stages; it is the only one that does."""

"""This room finds out all that can be known before the first byte is sent."""

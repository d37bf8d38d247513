"""The stages of a push in their order."""

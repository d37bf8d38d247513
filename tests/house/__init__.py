"""House tests: what holds for the code base as a whole."""

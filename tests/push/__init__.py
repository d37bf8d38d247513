"""Tests of the pipeline's own decisions; whole pushes are tests/flows."""

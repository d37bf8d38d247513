"""Tests of the preflight room."""

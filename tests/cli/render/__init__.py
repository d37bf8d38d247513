"""Tests of the output: text, JSON and the terminal."""

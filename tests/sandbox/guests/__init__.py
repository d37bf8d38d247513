"""Tests of the guests of instances."""

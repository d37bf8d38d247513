"""Tests of container formats."""

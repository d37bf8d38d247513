"""Tests of the role package."""

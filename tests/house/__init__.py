"""Tests of the structure of the whole package."""

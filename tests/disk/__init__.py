"""Tests of the disk package."""

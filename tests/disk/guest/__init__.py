"""Tests of the inspection of the operating system."""

"""Benchmarks: commands that measure alternatives side by side. None of them is a test."""

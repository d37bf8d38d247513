"""Benchmarks: commands that print ratios measured side by side. None of them is a test."""

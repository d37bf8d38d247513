"""Tests of the sandbox's auth."""

"""Tests of the sandbox's ram."""

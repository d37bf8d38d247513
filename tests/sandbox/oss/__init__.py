"""Tests of the sandbox's OSS."""

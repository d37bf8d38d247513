"""Tests of the sandbox's oss."""

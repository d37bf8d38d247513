"""Tests of signatures and permissions in the sandbox."""

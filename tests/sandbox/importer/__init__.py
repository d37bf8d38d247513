"""Tests of the sandbox's importer."""

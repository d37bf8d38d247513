"""Waiting for an import task."""

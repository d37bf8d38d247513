"""Credential sources."""

"""Verification of request signatures."""

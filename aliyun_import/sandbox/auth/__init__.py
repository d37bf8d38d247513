"""Signatures of requests, and policies."""

"""Signatures of requests, policies, and tokens of OIDC providers."""

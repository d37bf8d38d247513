"""Tests of cloud/: credentials, endpoints, and the adapters against a sandbox over real HTTP."""

"""Conformance: clients of the vendor, unchanged, against the sandbox."""

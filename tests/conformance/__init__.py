"""Conformance tests: unmodified clients of the vendor against the sandbox."""

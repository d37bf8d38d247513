"""Tests of the sandbox's server, routing and state."""

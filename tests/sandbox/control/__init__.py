"""Tests of the control plane and the console of the sandbox."""

"""Tests of the sandbox's RAM and STS."""

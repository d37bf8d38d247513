"""Tests of the sandbox's reading of disks for imports."""

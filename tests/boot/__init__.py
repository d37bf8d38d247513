"""Tests of the boot test: its decision over recorded consoles, its parts, and whole boots of tiny guests."""

"""Tests of the boot test: verdicts on recorded consoles, its parts, and boots of tiny guests."""

"""Base of the in-memory services."""

from typing import Any

# Such a service does not have the methods of its Protocol that are tested with the sandbox only. A class with a base of
# type Any is accepted for every Protocol by mypy; tests/contract/test_doubles.py compares the existing methods.
Partial: Any = object

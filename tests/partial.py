"""Base of the in-memory services."""

from typing import Any

# Such a service need not have each method of its Protocol: one that is tested in the sandbox alone is missing. A class
# with a base of the type Any fits every Protocol; tests/contract/test_doubles.py compares the methods that it has.
Partial: Any = object

"""Tests of pushes in this process; tests/flows has tests of the command."""

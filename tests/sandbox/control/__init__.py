"""Tests of the control of a sandbox from outside."""

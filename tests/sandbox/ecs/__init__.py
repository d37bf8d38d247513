"""Tests of the sandbox's ECS."""

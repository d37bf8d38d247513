"""Tests of the sandbox's ecs."""

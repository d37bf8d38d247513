"""Tests of the room that takes a disk to an object."""

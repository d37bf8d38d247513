"""Tests of the upload of a disk to an object."""

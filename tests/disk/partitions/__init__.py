"""Tests of partition tables, volumes and boot evidence."""

"""Partition tables, logical volumes and boot evidence."""

"""Seeded mutation of disk images: whatever is on a disk, the readers give an answer or one of their own errors.

A short run is part of the default tests. The long one, 5,000 images for each reader, is

    python -m tests.fuzz.run --runs 5000

(some minutes), or `pytest -m slow tests/fuzz`. A failure names its reader, seed and number, and

    python -m tests.fuzz.run --reader NAME --seed S --first N --runs 1

shows it again.
"""

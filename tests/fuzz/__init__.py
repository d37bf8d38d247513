"""Seeded mutation of disk images: for every input, a reader returns a result or raises one of its own errors.

A short run is part of the default tests. The long run, with 5,000 images for each reader, is

    python -m tests.fuzz.run --runs 5000

(some minutes), or `pytest -m slow tests/fuzz`. A failure names its reader, seed and number, and

    python -m tests.fuzz.run --reader NAME --seed S --first N --runs 1

reproduces it.
"""

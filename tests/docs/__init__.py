"""Tests of the pages and of what is built from them."""

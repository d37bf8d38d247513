"""Tests of the image package: from an object in OSS to a usable image."""

"""Tests of the image room: from an object in OSS to a usable image."""

"""Upload of one disk to an object in OSS."""

"""From an object in OSS to a usable custom image."""

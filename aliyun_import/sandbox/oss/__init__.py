"""OSS of the sandbox."""

"""RAM and STS of the sandbox."""

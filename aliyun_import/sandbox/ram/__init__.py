"""RAM, IMS and STS."""

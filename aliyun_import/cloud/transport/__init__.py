"""HTTP connections to the services."""

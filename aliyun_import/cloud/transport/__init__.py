"""HTTP transport shared by all services."""

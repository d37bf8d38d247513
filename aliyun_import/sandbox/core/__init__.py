"""HTTP server, routing, faults and state, shared by the services."""

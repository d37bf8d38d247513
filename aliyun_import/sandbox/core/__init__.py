"""HTTP server, routing, faults, clock and state shared by the services."""

"""Routing, faults, state and formats shared by the services."""

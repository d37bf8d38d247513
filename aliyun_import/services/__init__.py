"""Interfaces of the cloud services that the tool needs."""

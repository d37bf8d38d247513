"""Tests of the cloud package: credentials, endpoints, and the adapters with a sandbox over HTTP."""

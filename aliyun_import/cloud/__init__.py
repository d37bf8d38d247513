"""Clients of the Alibaba Cloud services. The only package that imports their SDKs."""

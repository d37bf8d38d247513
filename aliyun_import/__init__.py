"""This package takes a local disk image to a finished Alibaba Cloud custom image."""

__version__ = "0.1.0"

"""The network configuration of a Linux system."""

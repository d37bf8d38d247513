"""This room is the only one that talks to Alibaba Cloud's SDKs."""

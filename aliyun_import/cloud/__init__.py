"""This room is the only one that talks to Alibaba Cloud's SDKs, and the one that translates every answer of them."""

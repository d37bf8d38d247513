"""A local Alibaba Cloud over HTTP. Shares no code with the client."""

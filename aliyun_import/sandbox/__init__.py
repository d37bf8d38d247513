"""Local implementation of OSS, ECS, RAM and STS over HTTP. Shares no code with the client."""

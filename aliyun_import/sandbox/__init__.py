"""This room is a small local Alibaba Cloud over real HTTP; it shares no code with the client."""

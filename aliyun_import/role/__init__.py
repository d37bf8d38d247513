"""The RAM role that ECS assumes to read the staging bucket."""

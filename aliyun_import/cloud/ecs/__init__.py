"""Client of ECS."""

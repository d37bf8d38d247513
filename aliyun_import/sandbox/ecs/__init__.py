"""ECS of the sandbox."""

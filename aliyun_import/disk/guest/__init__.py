"""This room looks at the system that lies on a disk: what it is, and whether it would start and be reached on ECS."""

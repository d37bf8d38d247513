"""ECS and VPC."""

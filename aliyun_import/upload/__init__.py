"""From a local disk to an object in OSS that is proven equal to it."""

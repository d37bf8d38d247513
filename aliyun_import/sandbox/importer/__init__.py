"""Import engine: reads disks in OSS and makes images of them."""

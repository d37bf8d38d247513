"""Published limits of the services, each with its page, as of November 2026.

Values that this package chooses or measures are in the modules that use them, with their reason.
"""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

# OSS, "Limits" and "UploadPart": part numbers 1-10000, at least 100 KB each, the last one any size from 1 byte.
MAX_PARTS = 10_000
MIN_PART_BYTES = 100 * KIB
# OSS, "Naming": keys are 1-1023 bytes of UTF-8 and do not begin with / or \.
MAX_KEY_BYTES = 1023
# OSS, "Bucket naming": 3-63 of a-z, 0-9 and -, first and last alphanumeric.
MIN_BUCKET_CHARS = 3
MAX_BUCKET_CHARS = 63

# ECS, ImportImage: DiskDeviceMapping.1 is the system disk, 2-17 are data disks; more are silently ignored there.
MAX_DISKS = 17
# ECS, ImportImage: DiskImageSize 1-2048 GiB for system and data disks.
MIN_DISK_GIB = 1
# The same page required 5 GiB for a system disk until 2021, and requires 1 GiB in 2026: 5 satisfies both.
MIN_SYSTEM_GIB = 5
MAX_DISK_GIB = 2048
# ECS, ImportImage: ImageName 2-128, Description 2-256 characters.
MIN_NAME_CHARS = 2
MAX_NAME_CHARS = 128
MIN_DESCRIPTION_CHARS = 2
MAX_DESCRIPTION_CHARS = 256
# ECS, ImportImage: Tag.N with N 1-20, key 1-128, value 0-128 characters.
MAX_TAGS = 20
MAX_TAG_KEY_CHARS = 128
MAX_TAG_VALUE_CHARS = 128
# ECS, ImportImage: ClientToken, ASCII, at most 64.
MAX_TOKEN_CHARS = 64

# RAM, CreateRole: RoleName 1-64 of letters, digits, "." and "-".
MAX_ROLE_NAME_CHARS = 64

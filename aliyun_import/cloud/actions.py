"""This file knows which right of RAM each operation needs.

Sources: "RAM authorization" of ECS, "Overview of bucket and object operations" of OSS. docs/permissions.md
says what each is for.
"""

from collections.abc import Mapping
from types import MappingProxyType

# Operations of OSS whose right has another name than the operation; the others are oss:<operation>.
_OSS: Mapping[str, str] = MappingProxyType({
    "InitiateMultipartUpload": "oss:PutObject",
    "UploadPart": "oss:PutObject",
    "CompleteMultipartUpload": "oss:PutObject",
    "UploadPartCopy": "oss:GetObject and oss:PutObject",
    "HeadObject": "oss:GetObject",
    "GetObjectMeta": "oss:GetObject",
    "ListObjectsV2": "oss:ListObjects",
})  # fmt: skip


def action_of(service: str, operation: str) -> str:
    """Name the right that an operation needs; empty where it needs none (GetCallerIdentity)."""
    if service == "OSS":
        return _OSS.get(operation, f"oss:{operation}")
    return "" if service == "STS" else f"{service.lower()}:{operation}"

"""This file leads an OSS request to the operation that it asks for."""

from aliyun_import.sandbox.http import Answer, Call, Request
from aliyun_import.sandbox.oss_errors import refuse
from aliyun_import.sandbox.state import State

__all__ = ["answer", "identify", "refuse"]


def identify(request: Request) -> Call:
    """Tell the operation, bucket, key and part number of a request."""
    bucket, _, key = request.path.lstrip("/").partition("/")
    return Call(service="oss", operation=f"{request.method} {request.path}", bucket=bucket, key=key)


def answer(state: State, request: Request) -> Answer:
    """Do what a request asks for."""
    del state
    return refuse(request, 501, "NotImplemented", f"The sandbox does not do {request.method} {request.path}.")

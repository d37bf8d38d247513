"""Metadata service of an instance, as ECS has it at 100.100.100.200; without it cloud-init waits for a timeout.

QEMU forwards the connections of the guest as one stream of bytes, without their beginning and end. Each answer has a
length, after which the guest closes its connection.
"""

import re
from collections.abc import Mapping

ADDRESS = "100.100.100.200"
NETWORK = "100.100.100.0/24"
MAC = "00:16:3e:00:00:01"
_DONE_PATH = "/boot-test"
# Sent by the last stage of cloud-init: proof of the end of the boot, also on guests without a serial console.
_USER_DATA = f"""#cloud-config
phone_home:
  url: http://{ADDRESS}{_DONE_PATH}
  post: [instance_id]
  tries: 3
"""
_INTERFACE = {
    "network-interface-id": "eni-boottest",
    "primary-ip-address": "100.100.100.15",
    "private-ipv4s": '["100.100.100.15"]',
    "netmask": "255.255.255.0",
    "gateway": "100.100.100.2",
    "vswitch-cidr-block": NETWORK,
    "vpc-cidr-block": NETWORK,
    "vswitch-id": "vsw-boottest",
    "vpc-id": "vpc-boottest",
}
_META_DATA: Mapping[str, str] = {
    "instance-id": "i-boottest",
    "hostname": "boot-test",
    "region-id": "cn-hangzhou",
    "zone-id": "cn-hangzhou-i",
    "network-type": "vpc",
    "mac": MAC,
    "private-ipv4": "100.100.100.15",
    "image-id": "m-boottest",
    "owner-account-id": "1234567890123456",
    "instance/instance-type": "ecs.boottest",
    **{f"network/interfaces/macs/{MAC}/{name}": value for name, value in _INTERFACE.items()},
}
_REQUEST = re.compile(rb"(GET|HEAD|PUT|POST) (/[^ \r\n]*) HTTP/1\.[01]\r\n")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]{1,7})\r\n")
_MAX_PENDING_BYTES = 256 * 1024


class MetadataService:
    """The service. `requests` counts the requests of the guest; `is_done` is whether cloud-init reported its end."""

    def __init__(self) -> None:
        self.requests = 0
        self.is_done = False
        self._pending = b""

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the guest; return the answers to the requests that are complete."""
        self._pending = (self._pending + data)[-_MAX_PENDING_BYTES:]
        answers = []
        while request := _REQUEST.search(self._pending):
            head_end = self._pending.find(b"\r\n\r\n", request.end() - 2)
            if head_end < 0:
                break
            length = _LENGTH.search(self._pending, request.end() - 2, head_end + 2)
            end = head_end + 4 + (int(length[1]) if length else 0)
            if len(self._pending) < end:
                break
            self._pending = self._pending[end:]
            answers.append(self._answer(request[1].decode(), request[2].decode("ascii", "replace")))
        return b"".join(answers)

    def _answer(self, method: str, path: str) -> bytes:
        self.requests += 1
        body = self._body(method, path)
        status = "404 Not Found" if body is None else "200 OK"
        content = (body or "").encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(content)}\r\n"
        return f"{head}Connection: close\r\n\r\n".encode() + (b"" if method == "HEAD" else content)

    def _body(self, method: str, path: str) -> str | None:
        if method == "POST":
            self.is_done = self.is_done or path == _DONE_PATH
            return ""
        version, _, rest = path.lstrip("/").partition("/")
        if method == "PUT":
            return "boot-test-token" if rest == "api/token" else None
        if not re.fullmatch(r"latest|\d{4}-\d\d-\d\d", version):
            return None
        if rest == "user-data":
            return _USER_DATA
        area, _, key = rest.partition("/")
        return _value(key.strip("/")) if area == "meta-data" else None


def _value(key: str) -> str | None:
    """Return a value, or the names below a key; None for an unknown key.

    A name with further names below it ends in a slash.
    """
    if key in _META_DATA:
        return _META_DATA[key]
    prefix = f"{key}/" if key else ""
    below = dict.fromkeys(
        first + slash
        for first, slash, _ in (name[len(prefix) :].partition("/") for name in _META_DATA if name.startswith(prefix))
    )
    return "\n".join(below) or None

"""Metadata service of an instance, at 100.100.100.200 in the guest as in ECS.

QEMU forwards the bytes of all connections of the guest as one stream, without their starts and ends. Each answer has a
Content-Length, after which the guest closes the connection.
"""

import base64
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

from aliyun_import.sandbox.ecs.state import Instance

ADDRESS, NETWORK = "100.100.100.200", "100.100.100.0/24"
MAC = "00:16:3e:00:00:02"
# First address of the DHCP server of QEMU.
_GUEST = "100.100.100.15"
_REQUEST = re.compile(rb"(GET|HEAD|PUT|POST) (/[^ \r\n]*) HTTP/1\.[01]\r\n")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]{1,7})\r\n")
_MAX_PENDING_BYTES = 256 << 10


class Metadata:
    """Metadata service of one instance. `values` are by their paths below meta-data."""

    def __init__(self, values: Mapping[str, str] = MappingProxyType({}), *, user_data: bytes = b"") -> None:
        self._values, self._user_data = values, user_data
        self._pending = b""

    @classmethod
    def of(cls, instance: Instance) -> Self:
        """Return the metadata service of an instance."""
        values = {
            "instance-id": instance.id,
            "hostname": instance.id,
            "region-id": instance.region,
            "zone-id": instance.zone,
            "network-type": "vpc",
            "mac": MAC,
            "private-ipv4": _GUEST,
            "image-id": instance.image_id,
            "owner-account-id": instance.account_id,
            "instance/instance-type": instance.instance_type,
            f"network/interfaces/macs/{MAC}/primary-ip-address": _GUEST,
            f"network/interfaces/macs/{MAC}/private-ipv4s": f'["{_GUEST}"]',
            f"network/interfaces/macs/{MAC}/netmask": "255.255.255.0",
            f"network/interfaces/macs/{MAC}/gateway": "100.100.100.2",
            f"network/interfaces/macs/{MAC}/vswitch-cidr-block": NETWORK,
            f"network/interfaces/macs/{MAC}/vswitch-id": instance.vswitch_id,
        }
        return cls(values, user_data=base64.b64decode(instance.user_data))

    def feed(self, data: bytes) -> bytes:
        """Handle bytes of the guest, and return the answers to the complete requests."""
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
            answers.append(_answer(request[1], self._body(request[1], request[2].decode("ascii", "replace"))))
        return b"".join(answers)

    def _body(self, method: bytes, path: str) -> bytes | None:
        version, _, rest = path.lstrip("/").partition("/")
        if not re.fullmatch(r"latest|\d{4}-\d\d-\d\d", version):
            return None
        if method == b"PUT":
            return b"sandbox-token" if rest == "api/token" else None
        if rest == "user-data":
            return self._user_data or None
        area, _, key = rest.partition("/")
        return self._value(key.strip("/")) if area == "meta-data" else None

    def _value(self, key: str) -> bytes | None:
        """Return the value of a key, or the names below it, or None."""
        if key in self._values:
            return self._values[key].encode()
        prefix = f"{key}/" if key else ""
        tails = [name[len(prefix) :].partition("/") for name in self._values if name.startswith(prefix)]
        return "\n".join(dict.fromkeys(name + slash for name, slash, _ in tails)).encode() or None


def _answer(method: bytes, body: bytes | None) -> bytes:
    status, content = ("404 Not Found", b"") if body is None else ("200 OK", body)
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == b"HEAD" else content)

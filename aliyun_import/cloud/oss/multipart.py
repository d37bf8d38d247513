"""This file is the multipart family of OSS: start, send, copy, list, complete and abort uploads."""

from collections.abc import Mapping
from urllib.parse import quote
from xml.sax.saxutils import escape

from aliyun_import.cloud.oss.client import Got, OssWire
from aliyun_import.cloud.oss.parse import (
    list_of_parts,
    list_of_uploads,
    object_of_headers,
    parse,
    part_of_headers,
    text_of,
    unquoted,
)
from aliyun_import.errors import AccessError, AliyunImportError, BaseChanged, CopyRefused, RefusedError
from aliyun_import.model.objects import RemoteObject, RemotePart, RemoteUpload
from aliyun_import.services.interface import PartBody

# A copy of some GiB is done before it is answered; OSS says nothing until then.
_COPY_READ_S = 600.0
# Completing thousands of parts takes OSS longer than an ordinary request.
_COMPLETE_READ_S = 180.0
# How a store says that it does not make parts by copying.
_NO_COPIES = frozenset({"NotImplemented", "OperationNotSupported", "MethodNotAllowed", "NotSupported"})
# What the source of a copy is, when it is not any more what the plan was made for.
_SOURCE_CHANGED = frozenset({"PreconditionFailed", "NoSuchKey", "InvalidRange", "InvalidObjectState"})


class MultipartUploads:
    """The multipart part of ports.ObjectStore. `part_s` bounds each wait on the socket while bytes are sent."""

    def __init__(self, wire: OssWire, *, part_s: float) -> None:
        self._wire = wire
        self._part_s = part_s

    def start_upload(self, key: str, *, metadata: Mapping[str, str] | None = None) -> str:
        """Start a multipart upload (class Standard) and give its upload id."""
        got = self._wire.send(
            "InitiateMultipartUpload",
            "POST",
            key=key,
            params={"uploads": ""},
            headers=self._new_object_headers(metadata),
        )
        return text_of(parse(got.body, "InitiateMultipartUploadResult"), "UploadId")

    def send_part(
        self, key: str, upload_id: str, *, number: int, body: PartBody, timeout_s: float | None = None
    ) -> RemotePart:
        """Send one part, one attempt. Raises RefusedError "upload-vanished" when the server forgot the upload.

        `timeout_s` bounds each wait on the socket, not the whole part.
        """
        got = self._wire.send(
            "UploadPart",
            "PUT",
            key=key,
            params={"partNumber": str(number), "uploadId": upload_id},
            headers={"Content-Type": "application/octet-stream"},
            data=body,
            read_s=timeout_s or self._part_s,
            part=str(number),
        )
        return part_of_headers(number, len(body), got.headers)

    def copy_part(
        self,
        key: str,
        upload_id: str,
        *,
        number: int,
        source_key: str,
        start: int,
        length: int,
        if_match: str,
    ) -> RemotePart:
        """Make one part on the server from a range of an object of the same bucket.

        Raises RefusedError "base-changed" when the source is not `if_match` any more, "copy-refused" when the
        store does not do such copies, "upload-vanished" as send_part.
        """
        headers = {
            "x-oss-copy-source": f"/{self._wire.bucket}/{quote(source_key, safe='')}",
            "x-oss-copy-source-range": f"bytes={start}-{start + length - 1}",
            "x-oss-copy-source-if-match": f'"{if_match}"',
        }
        try:
            got = self._wire.send(
                "UploadPartCopy",
                "PUT",
                key=key,
                params={"partNumber": str(number), "uploadId": upload_id},
                headers=headers,
                read_s=_COPY_READ_S,
                part=str(number),
                source=source_key,
            )
        except AliyunImportError as error:
            refusal = _copy_refusal(error, source_key)
            if refusal is None:
                raise
            raise refusal from error
        return _copied_part(number, length, got)

    def list_parts(self, key: str, upload_id: str) -> tuple[RemotePart, ...]:
        """List all parts of an upload, all pages, by number; raises RefusedError "upload-vanished"."""
        found: list[RemotePart] = []
        marker = ""
        while True:
            params = {"uploadId": upload_id, "max-parts": "1000"} | ({"part-number-marker": marker} if marker else {})
            page, marker = list_of_parts(self._wire.send("ListParts", "GET", key=key, params=params).body)
            found += page
            if not marker:
                return tuple(sorted(found, key=lambda part: part.number))

    def list_uploads(self, prefix: str) -> tuple[RemoteUpload, ...]:
        """List all unfinished uploads below prefix, all pages."""
        found: list[RemoteUpload] = []
        params = {"uploads": "", "prefix": prefix, "max-uploads": "1000", "encoding-type": "url"}
        while True:
            page, markers = list_of_uploads(self._wire.send("ListMultipartUploads", "GET", params=params).body)
            found += page
            if not markers:
                return tuple(found)
            params |= markers

    def complete(
        self, key: str, upload_id: str, parts: tuple[RemotePart, ...], *, overwrite: bool = False
    ) -> RemoteObject:
        """Make the object of these parts (ascending numbers). size_bytes and crc64 are what the server answered.

        With overwrite=False an object that is there raises RefusedError "object-exists".
        """
        headers = {"Content-Type": "application/xml"} | ({} if overwrite else {"x-oss-forbid-overwrite": "true"})
        rows = (
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>&quot;{escape(part.etag)}&quot;</ETag></Part>"
            for part in parts
        )
        document = f"<CompleteMultipartUpload>{''.join(rows)}</CompleteMultipartUpload>".encode()
        got = self._wire.send(
            "CompleteMultipartUpload",
            "POST",
            key=key,
            params={"uploadId": upload_id},
            headers=headers,
            data=document,
            read_s=_COMPLETE_READ_S,
        )
        # The answer tells the CRC-64 but not the size; HeadObject tells both, of what really lies there.
        there = self._wire.send("HeadObject", "HEAD", key=key)
        return object_of_headers(key, {**there.headers, **_version(got)})

    def abort(self, key: str, upload_id: str) -> None:
        """Give an upload up and free its parts; fine when the server forgot it."""
        try:
            self._wire.send("AbortMultipartUpload", "DELETE", key=key, params={"uploadId": upload_id})
        except AliyunImportError as error:
            if error.code != "upload-vanished":
                raise

    @staticmethod
    def _new_object_headers(metadata: Mapping[str, str] | None) -> dict[str, str]:
        """Ask for class Standard whatever the bucket's own class: ECS imports nothing from an archive."""
        headers = {"Content-Type": "application/octet-stream", "x-oss-storage-class": "Standard"}
        return headers | {f"x-oss-meta-{name}": value for name, value in (metadata or {}).items()}


def _copied_part(number: int, length: int, got: Got) -> RemotePart:
    part = part_of_headers(number, length, got.headers)
    # The ETag of a copy stands in the body.
    etag = text_of(parse(got.body, "CopyPartResult"), "ETag")
    return RemotePart(number=number, size_bytes=length, etag=unquoted(etag), crc64=part.crc64)


def _version(got: Got) -> dict[str, str]:
    version = got.headers.get("x-oss-version-id")
    return {"x-oss-version-id": version} if version else {}


def _copy_refusal(error: AliyunImportError, source_key: str) -> RefusedError | None:
    """Tell a source that changed and a store that makes no copies; None for any other failure."""
    code = error.details.get("service_code", "")
    if code in _SOURCE_CHANGED:
        return BaseChanged(
            f"The object {source_key}, of which ranges were to be reused, is not what it was.",
            code="base-changed",
            cause=error.cause,
            remedy="Run the same command again; without the old object its bytes are sent.",
            details=error.details,
            resumable=True,
        )
    # No right to read the source, or a source in another place, is settled the same way: by sending the bytes.
    if code in _NO_COPIES or (isinstance(error, AccessError) and error.code in ("no-right", "access-denied")):
        return CopyRefused(
            "The store does not make parts by copying.",
            code="copy-refused",
            cause=error.cause,
            remedy="Use an endpoint of OSS itself, if this is not one, to have them copied.",
            details=error.details,
            resumable=True,
        )
    return None

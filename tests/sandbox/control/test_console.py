"""Tests of the console over HTTP: its contents and its forms. test_browser.py opens it in Chromium."""

import http.client
import urllib.parse
from contextlib import closing
from html.parser import HTMLParser

import oss2
import pytest

from aliyun_import.sandbox.control import console
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.oss_sdk import PART, refused
from tests.sandbox.prepared import mapping, prepare, put
from tests.sandbox.vendor_sdk import call

MARKUP = "<script>alert(1)</script>&\"'"


class _Page(HTMLParser):
    """The texts of a page by section, and its elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sections: dict[str, list[str]] = {}
        self.tags: list[str] = []
        self._open: list[str] = []
        self._section = ""
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element."""
        self.tags.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        if tag not in ("meta", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Assert that elements are closed in order."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Record a text."""
        self.sections.setdefault(self._section, []).append(data)


def _send(sandbox: Sandbox, method: str, path: str = "", **form: str) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    with closing(connection):
        connection.request(
            method,
            f"/_sandbox/{path}",
            body=urllib.parse.urlencode(form) if form else None,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Origin": sandbox.url} if form else {},
        )
        response = connection.getresponse()
        return response, response.read().decode()


def _page(sandbox: Sandbox, path: str = "") -> _Page:
    response, body = _send(sandbox, "GET", path)
    assert (response.status, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    return _Page(body)


def test_it_shows_buckets_with_objects_and_unfinished_uploads(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """Objects have their sizes, and uploads their parts."""
    bucket.put_object("golden/system.raw", b"x" * 1234)
    upload_id = bucket.init_multipart_upload("web/system.raw").upload_id
    for number in (1, 2):
        bucket.upload_part("web/system.raw", upload_id, number, b"z" * PART)
    shown = _page(sandbox).sections["buckets"]
    assert {"disks", "golden/system.raw", "1234", "web/system.raw", "2", str(2 * PART), upload_id} <= set(shown)


def test_it_shows_images_and_tasks_with_their_progress(sandbox: Sandbox) -> None:
    """Opening the page updates them. A failure has its reason."""
    prepare(sandbox)
    sandbox.state.configure(import_s=100.0, import_queue_s=0.0)
    image = call(sandbox, "ImportImage", ImageName="golden", DiskDeviceMappings=[mapping()])
    sandbox.clock.advance(42)
    page = _page(sandbox)
    assert {image["ImageId"], "golden", "Creating", " 42 %", "oss://bkt/disk.raw"} <= set(page.sections["images"])
    assert {image["TaskId"], image["ImageId"], "Processing", " 42 %"} <= set(page.sections["tasks"])
    sandbox.state.configure(import_outcome="failed")
    call(sandbox, "ImportImage", ImageName="broken", DiskDeviceMappings=[mapping()])
    sandbox.clock.advance(100)
    assert "ImportImageFailed: Importing image is failed." in _page(sandbox).sections["tasks"]


def test_it_shows_copies_shares_and_instances(sandbox: Sandbox) -> None:
    """The page lists the source of an image, its shares, and its instances."""
    prepare(sandbox)
    image_id = call(sandbox, "ImportImage", ImageName="golden", DiskDeviceMappings=[mapping()])["ImageId"]
    sandbox.clock.advance(100)
    call(sandbox, "CopyImage", ImageId=image_id, DestinationRegionId="cn-beijing", DestinationImageName="copied")
    call(sandbox, "ModifyImageSharePermission", ImageId=image_id, AddAccounts=["2000000000000000"])
    shown = set(_page(sandbox).sections["images"])
    assert {"copied", "cn-beijing", f"copy of {image_id} in cn-hangzhou", "2000000000000000"} <= shown
    assert "There are no instances." in _page(sandbox).sections["instances"]


def test_it_shows_requests_with_the_reason_of_each_refusal(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The page lists all requests, or only the refused ones."""
    sandbox.state.deny("oss:DeleteObject")
    bucket.put_object("k", b"")
    with refused():
        bucket.delete_object("k")
    reason = "AccessDenied You have no right to access this object. Action: oss:DeleteObject."
    everything, alone = _page(sandbox).sections["requests"], _page(sandbox, "?refused=1").sections["requests"]
    assert {"oss PutObject", "oss DeleteObject", reason} <= set(everything)
    assert reason in alone
    assert "oss PutObject" not in alone


def test_text_of_clients_is_escaped(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """Keys, tags, operations and reasons are escaped, and the page allows no scripts."""
    bucket.put_object(MARKUP, b"")
    with refused():
        bucket.get_object(f"missing{MARKUP}")
    prepare(sandbox)
    put(sandbox, f"{MARKUP}.raw")
    call(sandbox, "ImportImage", DiskDeviceMappings=[mapping(f"{MARKUP}.raw")], Tags=[{"Key": MARKUP, "Value": "v"}])
    response, body = _send(sandbox, "GET")
    page = _Page(body)
    assert "script" not in page.tags
    assert MARKUP in page.sections["buckets"]
    assert f"{MARKUP}=v" in page.sections["images"]
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy


def test_faults_are_added_and_removed(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """Forms redirect to the page, which shows the number of calls to which a fault was applied."""
    form = {"operation": "PutObject", "effect": "answer", "status": "500", "code": "InternalError", "message": "m"}
    response, _ = _send(sandbox, "POST", action="fault", key="", count="all", **form)
    assert (response.status, response.headers["Location"]) == (303, "/_sandbox/")
    with refused() as answer:
        bucket.put_object("k", b"")
    assert answer == (500, "InternalError")
    assert {"PutObject", "500 InternalError", "1 of all"} <= set(_page(sandbox).sections["faults"])
    _send(sandbox, "POST", action="fault", operation="GetObject", effect="lose-answer", count="2")
    (first, _), (_, second) = sandbox.faults.numbered()
    _send(sandbox, "POST", action="remove-fault", number=str(first))
    assert sandbox.faults.active() == (second.fault,)
    assert second.fault.count == 2
    _send(sandbox, "POST", action="remove-faults")
    assert sandbox.faults.active() == ()
    bucket.put_object("k", b"")


def test_time_and_log_have_buttons(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The buttons advance the clock by an hour and clear the log."""
    bucket.put_object("k", b"")
    before_s = sandbox.clock.now_s()
    _send(sandbox, "POST", action="advance", seconds="3600")
    assert sandbox.clock.now_s() >= before_s + 3600
    _send(sandbox, "POST", action="clear-log")
    assert "No requests." in _page(sandbox).sections["requests"]


@each_row(
    ("form", "message"),
    [
        ({"action": "explode"}, "no action 'explode'"),
        ({"action": "fault", "operation": "UplaodPart"}, "did you mean UploadPart?"),
        ({"action": "fault", "status": "five"}, "status takes a whole number, not 'five'"),
        ({"action": "remove-fault"}, "invalid literal"),
        ({"action": "advance", "seconds": "-1"}, "forward only"),
        ({"action": "advance", "seconds": "nan"}, "advance_s"),
    ],
)
def test_a_mistake_in_a_form_is_refused_with_the_reason(sandbox: Sandbox, form: dict[str, str], message: str) -> None:
    """The answer has the reason, and nothing changes."""
    response, body = _send(sandbox, "POST", **form)
    assert (response.status, message in body) == (400, True), body
    assert sandbox.faults.active() == ()


def test_a_long_list_is_truncated_with_a_note(
    sandbox: Sandbox, bucket: oss2.Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page has a bounded size."""
    monkeypatch.setattr(console, "MAX_ROWS", 3)
    for number in range(5):
        bucket.put_object(f"k{number}", b"")
    page = _page(sandbox)
    assert "k2" in page.sections["buckets"]
    assert "k3" not in page.sections["buckets"]
    assert "2 more are not shown." in page.sections["buckets"]


def test_the_page_reloads_itself_on_request(sandbox: Sandbox) -> None:
    """The reload needs no script."""
    assert 'http-equiv="refresh"' not in _send(sandbox, "GET")[1]
    assert 'http-equiv="refresh" content="5"' in _send(sandbox, "GET", "?refresh=1")[1]

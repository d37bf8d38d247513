"""This file tests that no library logs anything, and that what is logged of a request is one line without a query."""

import logging
import os
import subprocess
import sys

import pytest

from aliyun_import.cloud.transport.logs import logged

EVERYTHING = """
import logging, sys
from aliyun_import import api
from aliyun_import.cloud.credentials import vendor as vendor_chain
from aliyun_import.cloud.transport import oss_session, rpc
from aliyun_import.cloud.transport.logs import shut_vendor_logs
vendor_chain._library()
import oss2, urllib3, requests, Tea.core
shut_vendor_logs()
logging.basicConfig(level=logging.DEBUG)
ours = {"aliyun_import", *sys.stdlib_module_names}
names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] not in ours]
for name in names:
    logging.getLogger(name).critical("leak of %s", name)
print(len(names))
"""


def test_every_logger_that_the_libraries_make_is_shut() -> None:
    """Also one that a new version of a library brings: neither a handler of its own nor the root's writes anything."""
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", "PYTHONPATH": os.pathsep.join(sys.path), "DEBUG": "sdk"}
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) > 10
    leaks = [line for line in done.stderr.splitlines() if "leak of" in line]
    assert leaks == []


def test_a_request_is_one_line_without_its_query(caplog: pytest.LogCaptureFixture) -> None:
    """Service, operation, method, place, status, request id and time; of a failure the class alone."""
    caplog.set_level(logging.DEBUG, logger="aliyun_import")
    with logged("OSS", "GetObject", method="GET", url="https://u:p@host/a/key?x-oss-security-token=hush") as exchange:
        exchange.status, exchange.request_id = 200, "R-1"
    with pytest.raises(ConnectionError), logged("STS", "AssumeRole", method="POST", url="https://sts"):
        raise ConnectionError("hush")
    first, second = (record.getMessage().rpartition(",")[0] for record in caplog.records)
    assert first == "OSS GetObject: GET https://host/a/key: 200, request id R-1"
    assert second == "STS AssumeRole: POST https://sts: ConnectionError"

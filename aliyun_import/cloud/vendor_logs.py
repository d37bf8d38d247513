"""This file shuts the logs of the vendor's libraries and of what they are built on.

They log signed URLs, whole requests (with DEBUG=sdk in the environment) and answers that hold keys, and three of them
write to stderr through handlers of their own. What is worth a line is logged by `request_log`.
"""

import logging

# The loggers at the root; those below them are shut as well, since some have handlers and levels of their own.
VENDORS = (
    "aliyunsdkcore",
    "alibabacloud-tea",
    "alibabacloud_credentials",
    "apscheduler",
    "aiohttp",
    "charset_normalizer",
    "credentials",
    "darabonba",
    "oss2",
    "requests",
    "tzlocal",
    "urllib3",
)
_OFF = logging.CRITICAL + 1


def shut_vendor_logs() -> None:
    """Shut them; call it after each import of such a library, which may open its own again."""
    known = list(logging.root.manager.loggerDict)
    below = [name for name in known if name.startswith(tuple(f"{vendor}." for vendor in VENDORS))]
    for name in (*VENDORS, *below):
        logger = logging.getLogger(name)
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(_OFF)

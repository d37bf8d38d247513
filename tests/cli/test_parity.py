"""Comparison of the options of `push` with the parameters of ImportImage in the installed SDK."""

import re

from aliyunsdkecs.request.v20140526.ImportImageRequest import ImportImageRequest

from aliyun_import.cli.commands.push import push
from aliyun_import.model.request import parameters
from tests.parameters import LEGACY, NEWER_THAN_SDK

# Setter of the SDK for what is not in ImportParameters -> the option that fills it in.
OTHERS = {
    "ClientToken": "--client-token",
    "DiskDeviceMappings": "--data-disk",
    "DryRun": "--dry-run",
    "ImageName": "--name",
    "RoleName": "--role-name",
    "Tags": "--tag",
}


def test_every_parameter_of_import_image_has_an_option() -> None:
    """A setter added by a newer SDK fails this test until it has an option."""
    setters = {match[1] for name in vars(ImportImageRequest) if (match := re.fullmatch(r"set_(\w+)", name))}
    declared = {one.api.split(".")[0] for one in parameters()}
    assert setters - LEGACY == (declared | set(OTHERS)) - NEWER_THAN_SDK
    options = {word for param in push.params for word in param.opts}
    assert {one.option for one in parameters()} | set(OTHERS.values()) <= options
    assert {"--format", "--disk-size"} <= options

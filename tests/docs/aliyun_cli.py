"""Replacement for the aliyun CLI; its calls go to a sandbox."""

import os
import sys
from contextlib import closing

import oss2
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest

VERSIONS = {"ecs": "2014-05-26", "ram": "2015-05-01", "sts": "2015-04-01", "ims": "2019-08-15"}
KEY = tuple(os.environ[f"ALIBABA_CLOUD_ACCESS_KEY_{part}"] for part in ("ID", "SECRET"))
URL = os.environ["ALIYUN_IMPORT_ENDPOINT_URL"]


def call(product: str, operation: str, *options: str) -> None:
    """Call an operation of an RPC service, and print the response."""
    request = CommonRequest(domain=URL.removeprefix("http://"), version=VERSIONS[product], action_name=operation)
    request.set_protocol_type("http")
    request.set_method("POST")
    parameters = dict(zip(options[::2], options[1::2], strict=True))
    region = parameters.pop("--region", "cn-hangzhou")
    for name, value in parameters.items():
        request.add_query_param(name.removeprefix("--"), value)
    client = AcsClient(*KEY, region_id=region, proxy={"http": "", "https": ""})
    with closing(client.session):
        try:
            print(client.do_action_with_exception(request).decode())
        except ServerException as error:
            sys.exit(str(error))


def bucket(url: str) -> oss2.Bucket:
    """Return the bucket of a URL."""
    return oss2.Bucket(oss2.Auth(*KEY), URL, url.removeprefix("oss://"), is_path_style=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["oss", "mb", url]:
            bucket(url).create_bucket()
        case ["oss", "rm", url, "-b", "-f"]:
            bucket(url).delete_bucket()
        case [product, operation, *options]:
            call(product, operation, *options)
        case other:
            sys.exit(f"not supported by this replacement: {other}")

"""DescribeRegions: names of the regions, and their endpoint."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from aliyun_import.sandbox.core.rpc import RpcCall, Value
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ecs.state import REGIONS

LANGUAGES = ("zh-CN", "en-US", "ja")
# Announced as closed: DescribeRegions omits them, other calls accept them.
_CLOSED = frozenset({"ap-south-1", "ap-southeast-2"})
# Region -> its name in Chinese, the default, and in English; a region without names is shown by its id. Japanese names
# were not to be had: `ja` gets the English ones.
_NAMES: Mapping[str, tuple[str, str]] = MappingProxyType({
    "cn-qingdao": ("华北1（青岛）", "China (Qingdao)"),
    "cn-beijing": ("华北2（北京）", "China (Beijing)"),
    "cn-zhangjiakou": ("华北3（张家口）", "China (Zhangjiakou)"),
    "cn-huhehaote": ("华北5（呼和浩特）", "China (Hohhot)"),
    "cn-wulanchabu": ("华北6（乌兰察布）", "China (Ulanqab)"),
    "cn-hangzhou": ("华东1（杭州）", "China (Hangzhou)"),
    "cn-shanghai": ("华东2（上海）", "China (Shanghai)"),
    "cn-shenzhen": ("华南1（深圳）", "China (Shenzhen)"),
    "cn-heyuan": ("华南2（河源）", "China (Heyuan)"),
    "cn-guangzhou": ("华南3（广州）", "China (Guangzhou)"),
    "cn-chengdu": ("西南1（成都）", "China (Chengdu)"),
    "cn-hongkong": ("中国香港", "China (Hong Kong)"),
    "ap-northeast-1": ("日本（东京）", "Japan (Tokyo)"),
    "ap-northeast-2": ("韩国（首尔）", "South Korea (Seoul)"),
    "ap-southeast-1": ("新加坡", "Singapore"),
    "ap-southeast-3": ("马来西亚（吉隆坡）", "Malaysia (Kuala Lumpur)"),
    "ap-southeast-5": ("印度尼西亚（雅加达）", "Indonesia (Jakarta)"),
    "ap-southeast-6": ("菲律宾（马尼拉）", "Philippines (Manila)"),
    "ap-southeast-7": ("泰国（曼谷）", "Thailand (Bangkok)"),
    "eu-central-1": ("德国（法兰克福）", "Germany (Frankfurt)"),
    "eu-west-1": ("英国（伦敦）", "UK (London)"),
    "me-central-1": ("沙特（利雅得）", "Saudi Arabia (Riyadh)"),
    "me-east-1": ("阿联酋（迪拜）", "UAE (Dubai)"),
    "na-south-1": ("墨西哥", "Mexico"),
    "us-east-1": ("美国（弗吉尼亚）", "US (Virginia)"),
    "us-southeast-1": ("美国（亚特兰大）", "US (Atlanta)"),
    "us-west-1": ("美国（硅谷）", "US (Silicon Valley)"),
})  # fmt: skip


def describe_regions(call: RpcCall) -> dict[str, Value]:
    """DescribeRegions: the regions open to the account, in every region."""
    language = call.get("AcceptLanguage", "zh-CN")
    if language not in LANGUAGES:
        raise Refusal("InvalidAcceptLanguage.NotFound")
    closed = _CLOSED | set(call.state.settings.closed_regions)
    regions: list[Value] = [
        {
            "RegionId": region,
            "RegionEndpoint": _endpoint(call.host, region),
            "LocalName": _NAMES.get(region, (region, region))[language != "zh-CN"],
            "Status": "available",
        }
        for region in REGIONS
        if region not in closed
    ]
    return {"Regions": {"Region": regions}}


def _endpoint(host: str, region: str) -> str:
    """Return the endpoint of a region: where the call came to, so that a client that follows it stays in the sandbox.

    A client that was led here by the service's own host names is led here by those of other regions, too.
    """
    return f"ecs.{region}.aliyuncs.com" if re.search(r"\.aliyuncs\.com(?::\d+)?$", host) else host

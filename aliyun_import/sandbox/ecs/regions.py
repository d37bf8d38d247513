"""This file knows ECS's regions: which there are, and which one a call is about."""

from collections.abc import Mapping
from types import MappingProxyType

from aliyun_import.sandbox.core.rpc_call import RpcCall
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.serializers import Value

# The vendor's API metadata of April 2026, products.json: the 39 regions of ECS. Only some names were to be had.
REGIONS = (
    "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3",
    "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "cn-beijing", "cn-beijing-finance-1", "cn-chengdu",
    "cn-fuzhou", "cn-guangzhou", "cn-hangzhou", "cn-hangzhou-finance", "cn-heyuan", "cn-heyuan-acdr-1", "cn-hongkong",
    "cn-huhehaote", "cn-nanjing", "cn-qingdao", "cn-shanghai", "cn-shanghai-finance-1", "cn-shenzhen",
    "cn-shenzhen-finance-1", "cn-wuhan-lr", "cn-wulanchabu", "cn-zhangjiakou", "cn-zhengzhou-jva", "cn-zhongwei",
    "eu-central-1", "eu-west-1", "me-central-1", "me-east-1", "na-south-1", "us-east-1", "us-southeast-1", "us-west-1",
)  # fmt: skip
_NAMES: Mapping[str, str] = MappingProxyType({
    "ap-northeast-1": "Japan (Tokyo)", "ap-northeast-2": "South Korea (Seoul)", "ap-southeast-1": "Singapore",
    "ap-southeast-3": "Malaysia (Kuala Lumpur)", "ap-southeast-5": "Indonesia (Jakarta)",
    "ap-southeast-6": "Philippines (Manila)", "ap-southeast-7": "Thailand (Bangkok)",
    "me-central-1": "Saudi Arabia (Riyadh)", "me-east-1": "UAE (Dubai)", "na-south-1": "Mexico",
    "us-southeast-1": "US (Atlanta)",
})  # fmt: skip
# Announced as closed; DescribeRegions does not give them, and calls for them are still understood.
_CLOSED = frozenset({"ap-south-1", "ap-southeast-2"})


def region_of(call: RpcCall) -> str:
    """Give the region that a call is about; refuses with MissingParameter or InvalidRegionId.NotFound."""
    region = call.required("RegionId")
    if region not in REGIONS:
        raise Refusal("InvalidRegionId.NotFound")
    return region


def describe_regions(call: RpcCall) -> dict[str, Value]:
    """List the regions open to the account, whichever region is asked."""
    del call
    regions: list[Value] = [
        {
            "RegionId": region,
            "RegionEndpoint": f"ecs.{region}.sandbox.invalid",
            "LocalName": _NAMES.get(region, region),
            "Status": "available",
        }
        for region in REGIONS
        if region not in _CLOSED
    ]
    return {"Regions": {"Region": regions}}

"""Operations on tags of images, snapshots, instances, security groups and, in VPC, vSwitches."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from aliyun_import.sandbox.core.rpc import RpcCall, Value
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ecs import catalog, rules
from aliyun_import.sandbox.ecs.instances import refresh
from aliyun_import.sandbox.ecs.rules import MAX_TAGS, region_of
from aliyun_import.sandbox.ecs.state import Ecs, Image, Instance, Network, Snapshot, owned

MAX_TAGGED = 50
KINDS = ("image", "snapshot", "instance", "securitygroup")

Tagged = Image | Snapshot | Instance | Network


def tag_resources(call: RpcCall) -> dict[str, Value]:
    """TagResources: add tags, and replace the values of existing keys."""
    found = _named(call)
    tags = rules.tags_of(call, duplicate="Duplicate.TagKey")
    if not tags:
        raise Refusal("MissingParameter", "Tag.1.Key")
    if any(len({**each.tags, **tags}) > MAX_TAGS for each in found):
        raise Refusal("NumberExceed.Tags")
    for each in found:
        _change(call, each, {**each.tags, **tags})
    return {}


def untag_resources(call: RpcCall) -> dict[str, Value]:
    """UntagResources: remove tags by their keys, or all tags."""
    found, keys = _named(call), set(call.numbered("TagKey").values())
    if not keys and not call.flag("All"):
        raise Refusal("MissingParameter", "TagKey.1")
    for each in found:
        _change(call, each, {key: value for key, value in each.tags.items() if keys and key not in keys})
    return {}


def list_tag_resources(call: RpcCall) -> dict[str, Value]:
    """ListTagResources: the tags of the given resources, or of the resources with the given tags."""
    region, kind = region_of(call), _kind(call)
    refresh(call.state)
    ids, tags = call.numbered("ResourceId").values(), rules.tag_filter(call)
    if not ids and not tags:
        raise Refusal("MissingParameter", "ResourceId.1 or Tag.1.Key")
    found: list[Value] = [
        {"ResourceId": each.id, "ResourceType": kind, "TagKey": key, "TagValue": value}
        for each in _of_kind(call, region, kind)
        if (not ids or each.id in ids) and rules.has_tags(each.tags, tags)
        for key, value in each.tags.items()
    ]
    return {"TagResources": {"TagResource": found}, "NextToken": ""}


def describe_tags(call: RpcCall) -> dict[str, Value]:
    """DescribeTags: the tags in use, with the number of resources per kind."""
    region, kind = region_of(call), _kind(call, required=False)
    refresh(call.state)
    filtered, resource_id = rules.tag_filter(call), call.get("ResourceId")
    counts = Counter(
        (key, value, each_kind)
        for each_kind in ((kind,) if kind else KINDS)
        for each in _of_kind(call, region, each_kind)
        if resource_id in ("", each.id)
        for key, value in each.tags.items()
    )
    tags = dict.fromkeys((key, value) for key, value, _ in counts)
    found = [(key, value) for key, value in tags if rules.has_tags({key: value}, filtered)]

    def shown(tag: tuple[str, str]) -> Value:
        by_kind: dict[str, Value] = {name.title(): counts[*tag, name] for name in KINDS}
        return {"TagKey": tag[0], "TagValue": tag[1], "ResourceTypeCount": by_kind}

    return rules.paged(call, "Tags", "Tag", found, shown)


def _kind(call: RpcCall, *, required: bool = True) -> str:
    kind = (call.required("ResourceType") if required else call.get("ResourceType")).lower()
    # ECS does not tag vSwitches, and VPC tags nothing else.
    kinds = ("vswitch",) if call.get("Version") == catalog.VPC_VERSION else KINDS
    if kind and kind not in kinds:
        raise Refusal("InvalidResourceType.NotFound")
    return kind


def _named(call: RpcCall) -> list[Tagged]:
    """Return the resources of ResourceId.N. Refuses a missing one."""
    region, kind = region_of(call), _kind(call)
    refresh(call.state)
    ids = call.numbered("ResourceId")
    if not ids:
        raise Refusal("MissingParameter", "ResourceId.1")
    if max(ids) > MAX_TAGGED:
        raise Refusal("NumberExceed.ResourceIds")
    known: Mapping[str, Tagged] = {each.id: each for each in _of_kind(call, region, kind)}
    if not set(ids.values()) <= set(known):
        raise Refusal("InvalidResourceId.NotFound")
    return [known[each] for each in ids.values()]


def _of_kind(call: RpcCall, region: str, kind: str) -> Iterator[Tagged]:
    ecs = call.state.part(Ecs)
    if kind == "image":
        yield from owned(ecs.images, call.account_id, region)
    elif kind == "snapshot":
        yield from owned(ecs.snapshots, call.account_id, region)
    elif kind == "vswitch":
        yield from (ecs.network(call.account_id, each.id) for each in catalog.vswitches(region))
    elif kind == "securitygroup":
        yield from (ecs.network(call.account_id, each) for each in catalog.security_groups(region))
    else:
        yield from owned(ecs.instances, call.account_id, region)


def _change(call: RpcCall, each: Tagged, tags: Mapping[str, str]) -> None:
    ecs = call.state.part(Ecs)
    if isinstance(each, Image):
        ecs.images[each.id] = replace(each, tags=tags)
    elif isinstance(each, Snapshot):
        ecs.snapshots[each.id] = replace(each, tags=tags)
    elif isinstance(each, Network):
        ecs.networks[call.account_id, each.id] = replace(each, tags=tags)
    else:
        ecs.instances[each.id] = replace(each, tags=tags)

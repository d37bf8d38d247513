"""This file holds the rules of ImportImage about the request as a whole, each a pure function of the request.

Where the service's older and newer pages differ, the newer or the wider one holds. A rule about a closed list of values
blocks, because the service would refuse the call after the upload; `--skip-check RULE` is the way past a list that
has grown meanwhile. Platform is the exception: that list grows all the time, so an unknown name is passed on.
"""

import re
from difflib import get_close_matches

from aliyun_import.checks import names
from aliyun_import.checks.os import SYSTEM_RULE_NAMES, SYSTEM_RULES
from aliyun_import.checks.request_findings import Rule, blocks, warns
from aliyun_import.checks.storage import PLACE_RULE_NAMES, place_findings
from aliyun_import.limits import (
    MAX_DESCRIPTION_CHARS,
    MAX_ROLE_NAME_CHARS,
    MAX_TAG_KEY_CHARS,
    MAX_TAG_VALUE_CHARS,
    MAX_TAGS,
    MAX_TOKEN_CHARS,
    MIN_DESCRIPTION_CHARS,
)
from aliyun_import.model.finding import Finding
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG
from aliyun_import.model.request import ImportRequest

# Regions with ECS in the service's own product list of April 2026; it grows, so this only helps against typos.
REGIONS = (
    "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3",
    "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "cn-beijing", "cn-beijing-finance-1", "cn-chengdu",
    "cn-fuzhou", "cn-guangzhou", "cn-hangzhou", "cn-hangzhou-finance", "cn-heyuan", "cn-heyuan-acdr-1", "cn-hongkong",
    "cn-huhehaote", "cn-nanjing", "cn-north-2-gov-1", "cn-qingdao", "cn-shanghai", "cn-shanghai-finance-1",
    "cn-shenzhen", "cn-shenzhen-finance-1", "cn-wuhan-lr", "cn-wulanchabu", "cn-zhangjiakou", "cn-zhengzhou-jva",
    "cn-zhongwei", "eu-central-1", "eu-west-1", "me-central-1", "me-east-1", "na-south-1", "us-east-1",
    "us-southeast-1", "us-west-1",
)  # fmt: skip
OUR_TAGS = (PUSH_ID_TAG, DISK_DIGEST_TAG)
MAX_USER_TAGS = MAX_TAGS - len(OUR_TAGS)


def request_findings(
    request: ImportRequest, *, bucket: str | None = None, key: str | None = None
) -> tuple[Finding, ...]:
    """Apply every rule about the request; all findings at once.

    `bucket` and `key` are where local disks shall be staged, where the user chose that.
    """
    found = [rule(request) for rule in (*RULES, *SYSTEM_RULES)]
    return (
        *(finding for finding in found if finding is not None),
        *place_findings(request, bucket=bucket, key=key),
    )


def rule_names() -> frozenset[str]:
    """Name every rule about the request, for --skip-check."""
    return RULE_NAMES | SYSTEM_RULE_NAMES | PLACE_RULE_NAMES


def region_form(request: ImportRequest) -> Finding | None:
    """Refuse what is no region id before anything is asked: it becomes part of host names."""
    problem = names.region_problem(request.region)
    if problem is None:
        return None
    return blocks("region-form", f"{request.region!r} is no region id. {problem}", _region_advice(request.region))


def region_known(request: ImportRequest) -> Finding | None:
    """Warn of a region that the published list does not have; the service itself is asked later."""
    if request.region in REGIONS or names.region_problem(request.region):
        return None
    return warns(
        "region-unlisted",
        f"The region {request.region} is not on the published list.",
        _region_advice(request.region),
    )


def image_name(request: ImportRequest) -> Finding | None:
    """Judge ImageName: 2 to 128 characters, a letter first, nothing reserved."""
    problem = names.name_problem(request.name)
    if problem is not None:
        advice = f"Pass --name with another one, such as {names.default_name(request.name)}."
        return blocks("image-name", f"The image name {request.name!r} is not allowed. {problem}", advice)
    doubt = names.name_doubt(request.name)
    if doubt is not None:
        advice = "Pass --name with plain letters if the service refuses it."
        return warns("image-name-doubtful", f"The image name {request.name!r} may be refused. {doubt}", advice)
    return None


def description(request: ImportRequest) -> Finding | None:
    """Judge Description: empty, or 2 to 256 characters that do not begin like a web address."""
    text = request.description
    if not text:
        return None
    if not MIN_DESCRIPTION_CHARS <= len(text) <= MAX_DESCRIPTION_CHARS:
        allowed = f"{MIN_DESCRIPTION_CHARS} to {MAX_DESCRIPTION_CHARS} are allowed"
        seen = f"The description has {len(text)} characters; {allowed}."
        return blocks("description", seen, "Pass a --description within that length, or none.")
    if text.startswith(names.WEB_ADDRESSES):
        seen = "The description begins with a web address, which the service refuses."
        return blocks("description", seen, "Put a word in front of the address in --description.")
    return None


def tag_count(request: ImportRequest) -> Finding | None:
    """Count the tags: N of Tag.N is 1 to 20, and two of them are ours."""
    if len(request.tags) <= MAX_USER_TAGS:
        return None
    return blocks(
        "tag-count",
        f"{len(request.tags)} tags are asked for; an image takes {MAX_TAGS}, and {len(OUR_TAGS)} are used to know it "
        "again.",
        f"Pass at most {MAX_USER_TAGS} --tag.",
    )


def tag_keys(request: ImportRequest) -> Finding | None:
    """Judge Tag.N.Key: 1 to 128 characters, nothing reserved, no web address."""
    problems = [f"{key!r} {problem}" for key in request.tags if (problem := _tag_key_problem(key))]
    return blocks("tag-key", _joined("Tag keys", problems), "Pass --tag with other keys.") if problems else None


def tag_values(request: ImportRequest) -> Finding | None:
    """Judge Tag.N.Value: 0 to 128 characters, nothing reserved, no web address."""
    problems = [f"that of {key!r} {problem}" for key, value in request.tags.items() if (problem := _tag_problem(value))]
    return blocks("tag-value", _joined("Tag values", problems), "Pass --tag with other values.") if problems else None


def tag_twice(request: ImportRequest) -> Finding | None:
    """Find keys that differ in case only, which the service takes for one ("TagKey.Duplication"); ours count too."""
    seen: dict[str, str] = {key.lower(): key for key in OUR_TAGS}
    for key in request.tags:
        if key.lower() in seen and key not in OUR_TAGS:
            both = f"The tag keys {seen[key.lower()]!r} and {key!r} are the same to the service, which ignores case."
            return blocks("tag-twice", both, f"Leave --tag {key}=... out, or give it another key.")
        seen[key.lower()] = key
    return None


def client_token(request: ImportRequest) -> Finding | None:
    """Judge ClientToken: ASCII, at most 64 characters ("InvalidClientToken.Malformed")."""
    token = request.client_token
    if token is None or (token and token.isascii() and token.isprintable() and len(token) <= MAX_TOKEN_CHARS):
        return None
    return blocks(
        "client-token",
        f"The client token must be 1 to {MAX_TOKEN_CHARS} ASCII characters.",
        "Pass another --client-token, or leave it out and one is made.",
    )


def role_name(request: ImportRequest) -> Finding | None:
    """Judge RoleName: 1 to 64 letters, digits, periods, hyphens, and at signs in roles made long ago."""
    name = request.role_name
    if name is None or re.fullmatch(rf"[A-Za-z0-9.@-]{{1,{MAX_ROLE_NAME_CHARS}}}", name):
        return None
    return blocks(
        "role-name",
        f"{name!r} is no role name: 1 to {MAX_ROLE_NAME_CHARS} letters, digits, periods and hyphens.",
        "Leave --role-name out to use the default role.",
    )


def resource_group(request: ImportRequest) -> Finding | None:
    """Judge ResourceGroupId: the id (rg-...), not the group's name."""
    group = request.resource_group
    if group is None or re.fullmatch(r"rg-[A-Za-z0-9-]+", group):
        return None
    return blocks(
        "resource-group",
        f"{group!r} is not the id of a resource group.",
        "Pass --resource-group with an id such as rg-acfm3example, found in the console under Resource Management.",
    )


def storage_location(request: ImportRequest) -> Finding | None:
    """Judge StorageLocationArn: arn:acs:cloudbox:REGION:ACCOUNT:cloudbox/ID, in the region of the import."""
    arn = request.storage_location_arn
    if arn is None:
        return None
    match = re.fullmatch(r"arn:acs:cloudbox:([a-z0-9-]+):(\d+):cloudbox/([A-Za-z0-9-]+)", arn)
    if match is None:
        form = f"arn:acs:cloudbox:{request.region}:ACCOUNT_ID:cloudbox/CLOUDBOX_ID"
        return blocks(
            "storage-location", f"{arn!r} is no location of a CloudBox.", f"Pass --storage-location-arn {form}."
        )
    if match[1] != request.region:
        return blocks(
            "storage-location",
            f"The CloudBox is in {match[1]}, the import in {request.region}.",
            f"Pass --region {match[1]}, or a CloudBox in {request.region}.",
        )
    return None


RULES: tuple[Rule, ...] = (
    region_form,
    region_known,
    image_name,
    description,
    tag_count,
    tag_keys,
    tag_values,
    tag_twice,
    client_token,
    role_name,
    resource_group,
    storage_location,
)
RULE_NAMES = frozenset(
    {
        "client-token",
        "description",
        "image-name",
        "image-name-doubtful",
        "region-form",
        "region-unlisted",
        "resource-group",
        "role-name",
        "storage-location",
        "tag-count",
        "tag-key",
        "tag-twice",
        "tag-value",
    }
)


def _tag_key_problem(key: str) -> str | None:
    if not key:
        return "is empty"
    if len(key) > MAX_TAG_KEY_CHARS:
        return f"is longer than {MAX_TAG_KEY_CHARS} characters"
    if key in OUR_TAGS:
        return "is what this tool knows its images by"
    if key.lower().startswith(names.RESERVED_PREFIXES):
        return "begins with what the service keeps for itself (aliyun, acs:)"
    return "contains a web address" if any(address in key for address in names.WEB_ADDRESSES) else None


def _tag_problem(value: str) -> str | None:
    if len(value) > MAX_TAG_VALUE_CHARS:
        return f"is longer than {MAX_TAG_VALUE_CHARS} characters"
    if value.startswith("acs:"):
        return "begins with acs:, which the service keeps for itself"
    return "contains a web address" if any(address in value for address in names.WEB_ADDRESSES) else None


def _joined(what: str, problems: list[str]) -> str:
    return f"{what} that are not allowed: {'; '.join(problems)}."


def _region_advice(region: str) -> str:
    near = get_close_matches(region.lower(), REGIONS, n=3)
    if not near:
        return "Pass --region with the id of a region, such as cn-hangzhou."
    others = f" (or {', '.join(near[1:])})" if len(near) > 1 else ""
    return f"Pass --region {near[0]}{others} if that is what you meant."

"""This file writes an ImportCall as the SDK's ImportImageRequest."""

from collections.abc import Mapping

from aliyunsdkecs.request.v20140526.ImportImageRequest import ImportImageRequest

from aliyun_import.model.request import DiskMapping, ImportCall


def import_request(call: ImportCall) -> ImportImageRequest:
    """Write a call, whole: a parameter that the user left open is left out, so that the service's default counts."""
    asked = call.request
    request = ImportImageRequest()
    request.add_query_param("RegionId", asked.region)
    request.set_ImageName(asked.name)
    if asked.role_name:
        request.set_RoleName(asked.role_name)
    request.set_ClientToken(call.client_token)
    request.set_DiskDeviceMappings([_mapping(one) for one in call.mappings])
    given = (
        (request.set_Description, asked.description),
        (request.set_Architecture, asked.architecture),
        (request.set_OSType, asked.os_type),
        (request.set_Platform, asked.platform),
        (request.set_BootMode, asked.boot_mode),
        (request.set_LicenseType, asked.license_type),
        (request.set_ResourceGroupId, asked.resource_group),
        (request.set_DetectionStrategy, asked.detection_strategy),
        (request.set_StorageLocationArn, asked.storage_location_arn),
        # The SDK would write Python's True as "True".
        (request.set_DryRun, "true" if call.dry_run else None),
    )
    for put, value in given:
        if value is not None:
            put(str(value))
    features = {"NvmeSupport": asked.nvme_support, "ImdsSupport": asked.imds_support}
    request.set_Features({name: value for name, value in features.items() if value is not None})
    request.set_Tags(tag_list(call.tags))
    return request


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Write tags as requests take them; answers call the same two TagKey and TagValue."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _mapping(disk: DiskMapping) -> dict[str, str]:
    fields = {"OSSBucket": disk.bucket, "OSSObject": disk.key}
    if disk.format is not None:
        fields["Format"] = str(disk.format)
    if disk.size_gib is not None:
        fields["DiskImageSize"] = str(disk.size_gib)
    return fields

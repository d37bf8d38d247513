"""This file lists what the sandbox's ECS can do: action -> the function that does it."""

from collections.abc import Mapping
from types import MappingProxyType

from aliyun_import.sandbox.core.rpc_call import Operation
from aliyun_import.sandbox.ecs import images as ecs_images
from aliyun_import.sandbox.ecs import import_image as ecs_import
from aliyun_import.sandbox.ecs import regions as ecs_regions
from aliyun_import.sandbox.ecs import tasks as ecs_tasks

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "ImportImage": ecs_import.import_image,
        "DescribeTasks": ecs_tasks.describe_tasks,
        "DescribeTaskAttribute": ecs_tasks.describe_task_attribute,
        "CancelTask": ecs_tasks.cancel_task,
        "DescribeImages": ecs_images.describe_images,
        "ModifyImageAttribute": ecs_images.modify_image_attribute,
        "DeleteImage": ecs_images.delete_image,
        "TagResources": ecs_images.tag_resources,
        "DescribeRegions": ecs_regions.describe_regions,
    }
)

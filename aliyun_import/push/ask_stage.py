"""Question to ECS before the upload: would it accept the import? A dry run of ImportImage answers it."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from aliyun_import.account.check import AccountState
from aliyun_import.errors import (
    BucketMissing,
    DetectionUnsupported,
    ImageImporting,
    NameTaken,
    ObjectMissing,
    RoleNotAuthorized,
    RoleNotVisible,
)
from aliyun_import.events import Noted
from aliyun_import.image.replace import temporary_name
from aliyun_import.image.submit import dry_run_import, new_client_token
from aliyun_import.journal import Journal
from aliyun_import.model.request import DiskMapping, ImportCall, ImportRequest
from aliyun_import.push.options import PushRun
from aliyun_import.push.stages import upload_request, without_detection
from aliyun_import.push.state import fold
from aliyun_import.role.spec import role_name_of


def ask_ecs(request: ImportRequest, account: AccountState, run: PushRun, *, keys: Sequence[str]) -> str:
    """Ask ECS by a dry run of ImportImage whether it accepts a request; raise its refusal, return its answer in words.

    `keys` are those of the local disks, in their order. What ECS cannot judge yet is no refusal: an object that is not
    uploaded, and a role that was created a moment ago.
    """
    planned = iter(keys)
    call = ImportCall(
        request=replace(request, role_name=role_name_of(request)),
        mappings=tuple(
            DiskMapping(
                bucket=disk.bucket or account.bucket,
                key=disk.key or next(planned),
                format=disk.format,
                size_gib=disk.size_gib,
            )
            for disk in request.disks
        ),
        client_token=new_client_token(),
        tags=request.tags,
    )
    try:
        dry_run_import(run.services.images, call)
    except (ObjectMissing, BucketMissing):
        # The answer about a disk that is not uploaded yet.
        if not keys:
            raise
        return "accepts the request; only the disk is missing, which is not uploaded yet"
    except (RoleNotVisible, RoleNotAuthorized):
        return "accepts the request; only the role is missing, which the push would create"
    return "accepts the request"


def ask_stage(request: ImportRequest, account: AccountState, run: PushRun, journal: Journal) -> ImportRequest:
    """Raise what ECS would refuse after the upload, before the first byte is sent: a right, a quota, a parameter.

    Returns the request, without an image check that ECS does not offer. A push that is resumed asks again only if it
    asks for something else, and not once every disk is uploaded.
    """
    state = fold(journal.entries)
    local = [index for index, disk in enumerate(request.disks) if disk.path]
    if not set(local) - state.uploaded.keys():
        return request
    name = temporary_name(request.name, state.push_id) if run.options.is_named_last else request.name
    question = hashlib.sha256(repr(replace(request, name=name)).encode()).hexdigest()[:16]
    if state.accepted == question:
        return request
    uploads = [upload_request(request, run.options, index) for index in local]
    keys = [upload.key or f"{upload.key_stem}{upload.suffix}" for upload in uploads]
    try:
        answer = ask_ecs(replace(request, name=name), account, run, keys=keys)
    except DetectionUnsupported as error:
        return ask_stage(without_detection(request, error, run), account, run, journal)
    except (ImageImporting, NameTaken):
        return request  # `find_earlier_import` has judged the name; `submit` removes a failed image that has it
    journal.write("accepted", request=question)
    run.context.emit(Noted(message=f"ECS {answer}"))
    return request

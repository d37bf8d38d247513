"""Stable codes of conditions that never end a run, each with its meaning and its usual remedy.

A code that errors have, too, is in `error_codes`, and the same rules hold for it.
"""

from aliyun_import.errors import WARNING, CodeRow


class WarningCode(CodeRow):
    """Stable code of `events.Warned`; a string."""

    VARIABLE_UNKNOWN = "variable-unknown", WARNING, "An ALIYUN_IMPORT_ variable is unknown.", "Correct or unset it."
    HOLES_NOT_BELIEVED = "holes-not-believed", WARNING, "Reported holes contain data.", "Use a local file system."
    RETENTION_FAILED = "retention-failed", WARNING, "Images beyond --keep-last could not be removed."
    FORCED = "forced", WARNING, "--force overrode blocking findings."
    VHD_CHS_PADDED = "vhd-chs-padded", WARNING, "A VHD is uploaded with padding from the tool that wrote it."
    ROLE_TRUST_CONDITIONAL = "role-trust-conditional", WARNING, "The trust policy has conditions for ECS."
    ROLE_RIGHTS_UNCLEAR = "role-rights-unclear", WARNING, "It is unknown whether the role has the permissions it needs."
    ROLE_UNSEEN = "role-unseen", WARNING, "These credentials can't read the role; ImportImage tests it."
    ROLE_NAME_NOT_DEFAULT = "role-name-not-default", WARNING, "The documentation of ECS names the default role only."
    ROLE_NOT_VISIBLE_YET = "role-not-visible-yet", WARNING, "ECS does not find the new role yet; the call is repeated."
    BUCKET_PUBLIC = "bucket-public", WARNING, "The bucket is public: anyone can read it."
    LIFECYCLE_UNSET = "lifecycle-unset", WARNING, "No lifecycle rule aborts unfinished uploads; they are billed."
    OBJECT_NOT_REMOVED = "object-not-removed", WARNING, "The staging object could not be removed."
    OBJECT_STAYS = "object-stays", WARNING, "The staging object remains in OSS and is billed."
    ZEROS_LEFT = "zeros-left", WARNING, "The zero object could not be removed."
    UNPROVEN = "unproven", WARNING, "The object could not be proven equal to the disk by CRC-64."
    BASE_SET_ASIDE = "base-set-aside", WARNING, "The base object can't be used; nothing is copied from it."
    MANIFEST_MISSING = "manifest-missing", WARNING, "No manifest was written; later pushes can't reuse this object."
    REGIONS_UNSEEN = "regions-unseen", WARNING, "The list of regions can't be read: --region is not checked."
    IMAGE_CHECK = "image-check", WARNING, "The check of the image by ECS has findings."
    IMAGE_CHECK_MISSING = "image-check-missing", WARNING, "The requested check of the image by ECS has no result."
    IMAGE_STAYS = "image-stays", WARNING, "An image of an earlier run still has its temporary name."
    OLD_IMAGE_KEPT = "old-image-kept", WARNING, "The replaced image could not be deleted."
    IMPORT_GOES_ON = "import-goes-on", WARNING, "The task failed, but the image is still being created."
    IMPORT_UNSEEN = "import-unseen", WARNING, "The state of the import can't be read at present; polling continues."
    TASK_ODD = "task-odd", WARNING, "The service reports an unexpected state of the task; polling continues."
    IMPORTS_UNSEEN = "imports-unseen", WARNING, "These credentials can't list the objects of running imports."
    TASK_UNSEEN = "task-unseen", WARNING, "These credentials can't read tasks; only the image is polled."
    NOTHING_TO_REMOVE = "nothing-to-remove", WARNING, "No leftover of an earlier push matches the pattern."

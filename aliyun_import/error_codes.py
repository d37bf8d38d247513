"""Stable codes of errors, each with its exception classes, its meaning and its usual remedy.

docs/errors.md is generated from these rows and from those of `warning_codes`. A test checks that the package uses every
code and no other. A code is never renamed or removed: scripts read it. `WARNING` among the classes marks a code that
`events.Warned` has, too. Where one check stops a push, its id is the code; the registry of checks lists those ids.
"""

import aliyun_import.errors as e
from aliyun_import.errors import WARNING, CodeRow

_RENEW = "Renew the credentials, and run the same command again; it resumes where it stopped."
_KEY = "Check ALIBABA_CLOUD_ACCESS_KEY_ID or the profile, and the state of the key in the RAM console."
_BILLS = "Pay the account's bills in the console, then run the same command again."
_AGAIN = "Run the same command again; it resumes where it stopped."
_NETWORK = "Check the network and run the same command again."
_GRANT = "Ask an administrator to grant it; `aliyun-import role policy` prints a policy with it."
_MEMORY = "Run the same command again. If it recurs, test this machine's memory and network."
_CONVERT = "Convert it with `qemu-img convert -O vpc`, or push the disk as RAW."
_HOST = "Leave --oss-endpoint out, add --oss-cname if it is a custom domain, or pass an endpoint of OSS itself."
_BUCKET = "Pass another --bucket, or leave it out to have one created."
_BUG = "Report this with the request id: the tool should not have sent such a request."
_STOP_WRITING = "Stop what writes to the disk, or push a snapshot of it, and run the same command again."


class ErrorCode(CodeRow):
    """Stable code of an error; a string."""

    # The formatter is off because it would spread each row over six lines.
    # fmt: off

    # The command line and settings
    USAGE = "usage", e.UsageError, "The command line is invalid.", "Run the command with --help."
    REGION_MISSING = "region-missing", e.UsageError, "No region is set.", "Pass --region."
    REGION_INVALID = "region-invalid", e.UsageError, "The text is not a region id.", "Pass --region, e.g. cn-hangzhou."
    OSS_ENDPOINT_MISSING = ("oss-endpoint-missing", e.UsageError, "An option requires --oss-endpoint.",
                            "Pass --oss-endpoint as well.")
    ENDPOINT_INVALID = ("endpoint-invalid", e.UsageError, "The URL of an endpoint is invalid.",
                        "Pass https://HOST or https://HOST:PORT.")
    ENDPOINT_INSECURE = ("endpoint-insecure", e.UsageError, "An endpoint on another machine is http, without TLS.",
                         "Pass it as https://HOST, or add --insecure if the network in between is trusted.")
    ENDPOINT_SCHEME = ("endpoint-scheme", e.UsageError,
                       "The endpoint is http and its server expects https, or the reverse.", "Change the scheme.")
    ENDPOINT_UNKNOWN = ("endpoint-unknown", e.UsageError, "OSS has no public endpoint in the region.",
                        "Run this in the region with --oss-endpoint-type internal, or pass --oss-endpoint.")
    CREDENTIALS_URI_INVALID = ("credentials-uri-invalid", e.UsageError, "The credentials URI is not an http(s) URL.",
                               "Set ALIBABA_CLOUD_CREDENTIALS_URI as http://HOST:PORT/PATH, or unset it.")
    OSS_ENDPOINT_TYPE_INVALID = "oss-endpoint-type-invalid", e.UsageError, "The type of the OSS endpoint is unknown."
    ARGUMENT_INVALID = "argument-invalid", e.UsageError, "An argument of a function or a public type is invalid."
    REGION_MISMATCH = "region-mismatch", e.UsageError, "Client and request name different regions.", "Use one region."
    SANDBOX_OPTIONS = "sandbox-options", e.UsageError, "Options of the real cloud can't be used with --sandbox."
    OSS_URL_MALFORMED = "oss-url-malformed", e.UsageError, "An OSS URL is invalid.", "Write it as oss://BUCKET/KEY."
    DATA_DISK_MALFORMED = ("data-disk-malformed", e.UsageError, "The value of --data-disk is invalid.",
                           "Write it as PATH[,size=GIB][,format=FORMAT].")
    CONFIG_INVALID = "config-invalid", e.UsageError, "A configuration file can't be used.", "Correct the file."
    TAG_TWICE = "tag-twice", e.UsageError, "Two tags have the same key.", "Leave one --tag out."
    UNKNOWN_CHECK = "unknown-check", e.UsageError, "There is no check of this name.", "Correct the name."
    SIZE_NOT_WHOLE = "size-not-whole", e.UsageError, "The size is not a whole number of GiB.", "Pass e.g. --size 5G."
    FILE_EXISTS = "file-exists", e.UsageError, "The file to be created exists.", "Pass another path."
    PROXY_UNUSABLE = ("proxy-unusable", e.UsageError, "The proxy of the environment is not an http:// or https:// URL.",
                      "Set HTTPS_PROXY as http://HOST:PORT, or add the endpoint's host to NO_PROXY.")
    CA_BUNDLE_UNREADABLE = ("ca-bundle-unreadable", e.UsageError, "The file of trusted certificates can't be read.",
                            "Set REQUESTS_CA_BUNDLE to a file of certificates in PEM form, or unset it.")
    BUCKET_NAME_INVALID = ("bucket-name-invalid", (e.RefusedError, e.UsageError), "The bucket name is invalid.",
                           "Pass --bucket with 3 to 63 of a-z, 0-9 and -, the first and the last not a hyphen.")

    # The disk
    DISK_MISSING = "disk-missing", e.DiskError, "There is no such file.", "Check the path of the disk."
    DISK_KIND = "disk-kind", e.DiskError, "The path is not a file or a block device.", "Pass the path of a disk image."
    DISK_EMPTY = "disk-empty", e.DiskEmpty, "The disk has no bytes.", "Check the path, or copy the disk again."
    DISK_UNREADABLE = "disk-unreadable", e.DiskError, "The disk can't be opened.", "Grant read permission on it."
    DISK_READ = "disk-read", e.DiskError, "Reading the disk failed.", "Check the disk's hardware, or copy it again."
    DISK_TRUNCATED = "disk-truncated", e.DiskTruncated, "The disk became shorter while it was read.", _STOP_WRITING
    DISK_CHANGED = "disk-changed", (e.DiskChanged, WARNING), "The disk changed during or after the push.", _STOP_WRITING
    DISK_TOO_LARGE = "disk-too-large", e.DiskError, "The disk is larger than ECS imports.", "Shrink the disk."
    DISK_REFUSED = "disk-refused", e.DiskError, "Several checks of the disks failed; each is listed.",
    REQUEST_REFUSED = "request-refused", e.RefusedError, "Several checks of the request failed; each is listed.",
    NOT_WHOLE = "not-whole", e.DiskError, "The disk consists of several files.", "Convert it to one file."
    QEMU_IMG_MISSING = ("qemu-img-missing", e.QemuImgMissing, "This format requires qemu-img, which is not installed.",
                        "Install qemu-img (package qemu-utils or qemu-img).")
    CONVERSION_FAILED = "conversion-failed", e.DiskError, "qemu-img can't convert the disk.", "Run `qemu-img check`."
    UNPACK_FAILED = "unpack-failed", e.DiskError, "A compressed disk can't be unpacked.", "Copy or download it again."
    NO_SPACE = ("no-space", e.LocalStateError, "The working directory has too little free space.",
                "Free space, or pass --work-dir with another directory.")
    WORK_DIR_UNUSABLE = ("work-dir-unusable", e.LocalStateError, "The working directory can't be used.",
                         "Pass --work-dir with a writable directory.")
    BOOT_TEST_IMPOSSIBLE = "boot-test-impossible", e.DiskError, "The disk can't be started.", "Repair the findings."

    # Credentials and permissions
    CREDENTIALS_MISSING = ("credentials-missing", e.AccessError, "No credentials were found in any source.",
                           "Set ALIBABA_CLOUD_ACCESS_KEY_ID and _SECRET, or run `aliyun configure`.")
    CREDENTIALS_FAILED = ("credentials-failed", e.AccessError, "A source of credentials failed.",
                          "Correct the role, program or URI, or set an access key in the environment.")
    CREDENTIALS_UNREACHABLE = ("credentials-unreachable", e.ServiceUnreachable,
                               "The source of the credentials can't be reached or is unavailable.", _NETWORK)
    CREDENTIALS_MALFORMED = ("credentials-malformed", e.AccessError, "A key or token is not printable ASCII.",
                             "Set it again.")
    CREDENTIALS_UNREADABLE = ("credentials-unreadable", e.AccessError, "A credentials file is damaged or unreadable.",
                              "Repair the file, or move it away and run `aliyun configure`.")
    PROFILE_MISSING = ("profile-missing", e.AccessError, "The profile does not exist; the cause lists all profiles.",
                       "Run `aliyun configure --profile NAME`, or pass another --profile.")
    PROFILE_INCOMPLETE = "profile-incomplete", e.AccessError, "The profile lacks keys.", "Run `aliyun configure`."
    PROFILE_UNSUPPORTED = ("profile-unsupported", e.AccessError, "The mode of the profile is not supported.",
                           "Pass another --profile, or set an access key in the environment.")
    ACCESS_KEY_UNKNOWN = "access-key-unknown", e.AccessError, "The access key does not exist or is disabled.", _KEY
    ACCESS_KEY_DISABLED = "access-key-disabled", e.AccessError, "The access key is disabled.", _KEY
    SECRET_WRONG = ("secret-wrong", e.AccessError, "The secret does not belong to the access key.",
                    "Check ALIBABA_CLOUD_ACCESS_KEY_SECRET or the profile; the access key itself exists.")
    TOKEN_INVALID = "token-invalid", e.AccessError, "The security token is invalid.", _RENEW
    TOKEN_EXPIRED = "token-expired", e.AccessError, "The security token has expired.", _RENEW
    TOKEN_MISMATCHED = ("token-mismatched", e.AccessError, "The security token does not belong to the access key.",
                        "Set key, secret and token from the same answer of STS.")
    TOKEN_MISSING = ("token-missing", e.AccessError, "The access key is temporary, and its security token is missing.",
                     "Set ALIBABA_CLOUD_SECURITY_TOKEN as well.")
    TOKEN_NOT_SUPPORTED = ("token-not-supported", e.AccessError, "The operation rejects temporary credentials.",
                           "Use a long-lived access key for this run.")
    CLOCK_SKEWED = ("clock-skewed", e.AccessError, "The clock of this machine is more than 15 minutes off.",
                    "Set the clock of this machine, for example with NTP, and run the same command again.")
    NO_RIGHT = "no-right", e.PermissionDenied, "The credentials lack a permission; the error names it.", _GRANT
    ACCESS_DENIED = "access-denied", e.PermissionDenied, "The service denies access, with an unlisted code.", _GRANT
    ACCOUNT_DISABLED = "account-disabled", e.AccessError, "OSS is disabled, or bills are unpaid.", _BILLS
    ACCOUNT_IN_DEBT = "account-in-debt", e.AccessError, "The account has unpaid bills.", _BILLS
    IMPORT_NOT_ENABLED = ("import-not-enabled", e.AccessError, "The account is not enabled for this kind of import.",
                          "Open a ticket with Alibaba Cloud to have it enabled.")
    RISK_CONTROL = ("risk-control", e.AccessError, "Alibaba Cloud's risk control stopped the request.",
                    "Open a ticket with Alibaba Cloud that contains the request id.")
    CERTIFICATE_UNTRUSTED = ("certificate-untrusted", e.AccessError, "The TLS certificate of the host is not trusted.",
                             "Set REQUESTS_CA_BUNDLE to the file with the certificate of a TLS-inspecting proxy.")
    REDIRECTED = ("redirected", e.AccessError, "The host answered with a redirect, which the service never sends.",
                  "Check for a captive portal or a proxy between this machine and the internet.")
    INTERCEPTED = ("intercepted", e.AccessError, "A filter, proxy or portal, not the service, refused the request.",
                   "Check the proxy, filter or portal between this machine and the service.")
    PROXY_LOGIN = ("proxy-login", e.AccessError, "The proxy requires a login, or rejects the one that was given.",
                   "Set HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT, or add the endpoint's host to NO_PROXY.")

    # The role
    RAM_INACTIVE = "ram-inactive", e.AccessError, "RAM is not activated.", "Activate it in the console; it is free."
    ROLE_MISSING = "role-missing", e.RefusedError, "The role does not exist.", "Run `aliyun-import role ensure`."
    ROLE_EXISTS = "role-exists", e.RoleExists, "The role already exists.", "Run the same command again."
    ROLE_TRUST = ("role-trust", e.RefusedError, "The trust policy of the role does not let ECS assume it.",
                  "Pass --fix to add the missing statement.")
    ROLE_RIGHTS = ("role-rights", e.AccessError, "The role lacks permissions; attaching a policy is denied.",
                   "Ask an administrator to run the printed commands.")
    ROLE_DENIED = "role-denied", e.AccessError, "A policy of the role denies what ECS needs.", "Change that policy."
    ROLE_NAME_INVALID = ("role-name-invalid", e.RefusedError, "The role name is invalid.",
                         "Pass 1 to 64 letters, digits, periods and hyphens.")
    ROLE_NOT_VISIBLE = ("role-not-visible", e.RoleNotVisible, "ECS does not find the role: it is missing, or too new.",
                        "Run `aliyun-import role ensure`, wait a minute, and run the same command again.")
    CLOUDBOX_ROLE = ("cloudbox-role", e.RoleNotVisible, "The role for imports from a CloudBox does not exist.",
                     "Create AliyunECSCloudBoxImageImportDefaultRole; `aliyun-import docs role` names its policy.")
    OSS_NOT_AUTHORIZED = ("oss-not-authorized", e.RoleNotAuthorized, "ECS can't read the object with the role.",
                          "Check with `aliyun-import role show` that the role has AliyunECSImageImportRolePolicy, and "
                          "that no bucket policy denies it; the bucket must belong to this account.")
    POLICY_MISSING = ("policy-missing", e.RefusedError, "The policy does not exist.",
                      "Check the name of the policy; AliyunECSImageImportRolePolicy is a system policy.")
    POLICY_EXISTS = "policy-exists", e.RefusedError, "The policy already exists."
    POLICY_ATTACHED = "policy-attached", e.RefusedError, "The policy is already attached to the role."
    POLICY_NOT_ATTACHED = "policy-not-attached", e.RefusedError, "The policy is not attached to the role."
    POLICY_MALFORMED = ("policy-malformed", e.RefusedError, "RAM can't parse a policy.",
                        "Check the trust policy; `aliyun-import role policy` prints a valid policy.")

    # Bucket and objects
    BUCKET_MISSING = "bucket-missing", e.BucketMissing, "The bucket does not exist.", _BUCKET
    BUCKET_REGION = ("bucket-region", e.RefusedError, "The bucket is in another region.",
                     "Pass the --region of the bucket, or another --bucket: image, bucket and object share one region.")
    BUCKET_OWNER = "bucket-owner", (e.AccessError, e.RefusedError), "The bucket belongs to another account.", _BUCKET
    BUCKET_DENIED = "bucket-denied", e.AccessError, "These credentials can't read the bucket.", _BUCKET
    BUCKET_DISABLED = "bucket-disabled", e.AccessError, "The bucket is disabled.", _BUCKET
    BUCKET_TAKEN = ("bucket-taken", e.RefusedError, "Another account has a bucket of this name.",
                    "Pass another --bucket: bucket names are shared by all accounts.")
    BUCKET_MISMATCH = "bucket-mismatch", e.RefusedError, "ECS can't use the bucket.", _BUCKET
    BUCKET_ENCRYPTED = ("bucket-encrypted", e.RefusedError, "The bucket encrypts its objects, which ECS can't import.",
                        "Pass a --bucket without default encryption, and push the disk again.")
    BUCKET_NOT_EMPTY = "bucket-not-empty", e.RefusedError, "The bucket is not empty."
    LIFECYCLE_MISSING = "lifecycle-missing", e.RefusedError, "The bucket has no lifecycle rules."
    KEY_INVALID = ("key-invalid", e.RefusedError, "The key of the object is invalid.",
                   "Pass --key with at most 1023 bytes of plain letters, digits, slashes and hyphens.")
    KEY_SUFFIX = ("key-suffix", e.RefusedError, "ECS rejects the suffix of the key.",
                  "Pass --key with the suffix of the format: .raw, .vhd, .qcow2 or .vmdk.")
    OBJECT_MISSING = "object-missing", e.ObjectMissing, "The object does not exist.", "Check the key, or push again."
    OBJECT_EXISTS = ("object-exists", e.ObjectExists, "An object with this key exists.",
                     "Pass another --key, or remove that object if it is not needed.")
    OBJECT_IN_USE = "object-in-use", e.RefusedError, "A running import or boot test uses the object or image."
    OBJECT_REPLACED = ("object-replaced", e.ImportFailed, "The object was replaced while ECS imported it.",
                       "Pass a --bucket to which only you can write, and push the disk again.")
    OBJECT_EMPTY = "object-empty", e.RefusedError, "The object has no bytes.", "Push the disk again."
    OBJECT_ARCHIVED = ("object-archived", e.RefusedError, "The object is in an archive class and can't be read.",
                       "Restore the object in the console first, or upload the disk again.")
    OBJECT_IMMUTABLE = ("object-immutable", e.RefusedError, "A retention policy of the bucket protects the object.",
                        "Pass another --key, or a --bucket without a retention policy.")
    OBJECT_CHANGED = ("object-changed", e.RefusedError, "The object changed since it was checked.",
                      "Run the same command again; it checks the object again.")

    # The upload
    UPLOAD_VANISHED = ("upload-vanished", (e.UploadNotFound, WARNING), "OSS has no such multipart upload.",
                       "Run the same command again; it starts a new upload.")
    PART_MISSING = ("part-missing", e.RefusedError, "OSS does not have every part that it confirmed.",
                    "Run the same command again; it lists the parts and sends what is missing.")
    PART_SIZE = "part-size", e.RefusedError, "A part is smaller or larger than OSS accepts.", _BUG
    PART_CORRUPTED = "part-corrupted", e.PartCorrupted, "The bytes that OSS received differ from those sent.", _MEMORY
    OBJECT_CORRUPTED = "object-corrupted", e.ObjectCorrupted, "The CRC-64 of the object and the disk differ.", _MEMORY
    ZEROS_CORRUPTED = "zeros-corrupted", e.TransientError, "The zero object has bytes other than zero.", _AGAIN
    COPY_REFUSED = ("copy-refused", (e.CopyRefused, WARNING), "The store does not create parts by copying.",
                    "Pass an endpoint of OSS itself, whose server copies them.")
    BASE_CHANGED = ("base-changed", e.BaseChanged, "The base object changed during the upload.",
                    "Run the same command again; it sends the bytes that it would have copied.")
    PUBLIC_ENDPOINT_FORBIDDEN = ("public-endpoint-forbidden", e.RefusedError,
        "The account can't use OSS's public endpoints for data.",
        "Bind a custom domain to the bucket and pass --oss-endpoint https://DOMAIN --oss-cname, or run this in the "
        "region with --oss-endpoint-type internal.")
    ENDPOINT_STYLE = ("endpoint-style", e.RefusedError, "The endpoint rejects the bucket's name in the path.",
                      "Pass OSS's own endpoint with --oss-endpoint; --endpoint-url is for a sandbox.")
    ENDPOINT_HOST = "endpoint-host", e.RefusedError, "OSS does not serve the bucket at this host.", _HOST
    ACCELERATION_DISABLED = ("acceleration-disabled", e.RefusedError, "Transfer acceleration is off for the bucket.",
                             "Enable it in the console (it costs extra), or pass --oss-endpoint-type public.")
    BODY_TOO_LARGE = ("body-too-large", e.RefusedError, "A proxy in front of the service limits the size of a body.",
                      "Raise its limit to 5 GiB, or pass an endpoint without it.")

    # The request
    REQUEST_INVALID = "request-invalid", e.RefusedError, "The service rejects a parameter of the request.", _BUG
    REQUEST_REPEATED = "request-repeated", e.TransientError, "The service has already received this request.", _AGAIN
    REFUSED = ("refused", e.RefusedError, "The service refuses the request, with an unlisted code.",
               "Read the service's own message in the cause; its support can use the request id.")
    NOT_SUPPORTED = "not-supported", e.RefusedError, "The service or the store does not support the operation.", _BUG
    QUOTA_EXCEEDED = ("quota-exceeded", e.RefusedError, "A quota of the account is exhausted.",
                      "Delete what is not needed, or have the quota raised in the console's Quota Center.")
    NAME_INVALID = ("name-invalid", e.RefusedError, "The image name is invalid.",
                    "Pass --name with 2 to 128 characters: a letter first, then letters, digits, period, colon, "
                    "underscore or hyphen; not beginning with aliyun or acs:, and without http:// or https://.")
    DESCRIPTION_INVALID = ("description-invalid", e.RefusedError, "The description is invalid.",
                           "Pass --description with 2 to 256 characters that does not begin with http:// or https://.")
    ARCHITECTURE_INVALID = ("architecture-invalid", e.RefusedError, "The architecture is invalid.",
                            "Pass --architecture i386, x86_64 or arm64.")
    ARCHITECTURE_PLATFORM = ("architecture-platform", e.RefusedError, "The platform does not support the architecture.",
                             "Pass another --platform, or another --architecture.")
    PLATFORM_INVALID = ("platform-invalid", e.RefusedError, "The platform is invalid.",
                        'Pass --platform with a name that the service lists, such as Debian or "Others Linux".')
    OS_TYPE_INVALID = "os-type-invalid", e.RefusedError, "The OS type is invalid.", "Pass --os-type linux or windows."
    BOOT_MODE_INVALID = ("boot-mode-invalid", e.RefusedError, "The boot mode is invalid.",
                         "Pass --boot-mode BIOS or UEFI.")
    BOOT_MODE_ARCHITECTURE = ("boot-mode-architecture", e.RefusedError,
        "The architecture does not support the boot mode.", "Pass --boot-mode UEFI: arm64 supports no other.")
    LICENSE_TYPE_INVALID = ("license-type-invalid", e.RefusedError, "The license type is invalid.",
                            "Pass --license-type Aliyun or BYOL, or leave it out.")
    LICENSE_TYPE_BYOL = ("license-type-byol", e.RefusedError, "The platform requires your own license.",
                         "Pass --license-type BYOL.")
    DETECTION_INVALID = ("detection-invalid", e.RefusedError, "The detection strategy is invalid.",
                         "Pass --detection-strategy Standard or none.")
    DETECTION_WINDOWS = ("detection-windows", e.DetectionUnsupported, "ECS does not check Windows images.",
                         "Pass --detection-strategy none.")
    IMDS_SUPPORT_INVALID = ("imds-support-invalid", e.RefusedError, "The metadata mode is invalid.",
                            "Pass --imds-support v1 or v2, or leave it out.")
    NVME_SUPPORT_INVALID = ("nvme-support-invalid", e.RefusedError, "The NVMe mode is invalid.",
                            "Pass --nvme-support supported or unsupported, or leave it out.")
    CLIENT_TOKEN_INVALID = ("client-token-invalid", e.RefusedError, "The client token is invalid.",
                            "Pass --client-token with at most 64 ASCII characters, or leave it out.")
    CLIENT_TOKEN_REUSED = ("client-token-reused", e.ClientTokenReused, "The client token was used for another request.",
                           "Pass another --client-token, or leave it out.")
    RESOURCE_GROUP_MISSING = ("resource-group-missing", e.RefusedError, "The resource group does not exist.",
        "Pass --resource-group with an id of `aliyun resourcemanager ListResourceGroups`, or leave it out.")
    REGION_UNKNOWN = ("region-unknown", e.RefusedError, "The region does not exist.",
                      "Pass --region with one of `aliyun ecs DescribeRegions`.")
    REGION_NO_IMPORT = ("region-no-import", e.RefusedError, "The region does not support importing images.",
                        "Pass another --region, and copy the image afterwards.")
    STORAGE_LOCATION_MISSING = ("storage-location-missing", e.RefusedError, "The CloudBox does not exist.",
        "Pass --storage-location-arn as arn:acs:cloudbox:REGION:ACCOUNT:cloudbox/ID, or leave it out.")
    CLOUDBOX_UNSUPPORTED = ("cloudbox-unsupported", e.RefusedError, "Images can't be imported from this CloudBox.",
                            "Leave --storage-location-arn out and import from a bucket of the region.")
    FORMAT_WRONG = ("format-wrong", e.RefusedError, "The object is not in the format of the request.",
                    "Leave --format out so that it is read from the disk, or convert the disk with qemu-img.")
    FORMAT_REGION = ("format-region", e.RefusedError, "The region does not import this format.",
                     "Push the disk as RAW or VHD, or pass another --region.")
    DISK_SIZE = ("disk-size", e.RefusedError, "The size of a disk is wrong.",
                 "Pass --disk-size with at least the virtual size of the disk, from 1 to 2048 GiB.")
    VHD_BLOCK_SIZE = "vhd-block-size", e.RefusedError, "The VHD has a block size that ECS does not support.", _CONVERT
    VHD_SIZE = "vhd-size", e.RefusedError, "The header and the size of the VHD disagree.", _CONVERT
    TAG_DUPLICATE = "tag-duplicate", e.RefusedError, "Two tags have the same key.", "Leave one --tag out."
    TAG_COUNT = "tag-count", e.RefusedError, "There are too many tags.", "Pass --tag at most 18 times."
    TAG_INVALID = ("tag-invalid", e.RefusedError, "The key or the value of a tag is invalid.",
                   "Pass --tag with a key of 1 to 128 characters and a value of at most 128, not beginning with aliyun "
                   "or acs:, and without http(s)://.")

    # Images and tasks
    IMAGE_NAME_TAKEN = ("image-name-taken", e.NameTaken, "An image with this name exists.",
                        "Pass another --name, or --replace to replace that image.")
    NAME_NOT_FREE = "name-not-free", e.RefusedError, "The new image could not be renamed.", _AGAIN
    IMAGE_IMPORTING = ("image-importing", e.ImageImporting, "An image with this name or id is being imported.",
                       "Wait for it with `aliyun-import task list` and `task wait`, or pass another --name.")
    IMAGE_MISSING = "image-missing", e.RefusedError, "The image does not exist.", "Check the id and --region."
    IMAGE_STATE = ("image-state", e.RefusedError, "The state of the image does not allow the operation.",
                   "Wait until the image is Available, then run the same command again.")
    IMAGE_IN_USE = "image-in-use", e.RefusedError, "The image is in use.", "Wait until it is not, or keep the image."
    INSTANCE_TYPE_UNAVAILABLE = ("instance-type-unavailable", e.InstanceTypeUnavailable,
                                 "No instance type can start the image.", "Pass --vswitch of another zone.")
    BOOT_NETWORK_MISSING = "boot-network-missing", e.RefusedError, "No network for boot tests.", "Pass --vswitch."
    IMAGE_DOES_NOT_BOOT = ("image-does-not-boot", e.ImportFailed, "The new image does not boot on an instance.",
                           "Repair the disk, and run the same command again.")
    INSTANCE_LEFT = ("instance-left", (e.TransientError, WARNING), "A boot test left an instance.",
                     "Delete the instance with `aliyun-import cleanup --remove INSTANCE_ID`.")
    IMAGE_NOT_USABLE = ("image-not-usable", e.StillRunning, "The image is not usable yet.",
                        "Run `aliyun-import task wait`.")
    IMAGE_FAILED = ("image-failed", e.ImportFailed, "The image could not be created; the service gave no reason.",
                    "Check the disk with `aliyun-import check`, and run the same command again.")
    IMAGE_GONE = ("image-gone", (e.ImportFailed, WARNING), "The image was deleted, or the import cancelled.",
                  "Run the same command again to import again; the object is kept.")
    REPLACEMENT_NOT_USABLE = "replacement-not-usable", e.RefusedError, "The new image is not Available.", _AGAIN
    IMPORT_FAILED = ("import-failed", e.ImportFailed, "The import failed; the cause has the service's reason.",
                     "Follow the remedy, which depends on the reason.")
    IMPORT_CANCELLED = ("import-cancelled", e.ImportFailed, "The import was cancelled, here or in the console.",
                        "Run the same command again to import again; the object is kept.")
    IMPORT_PAUSED = ("import-paused", e.ImportFailed, "The service paused the import; no operation resumes it.",
                     "Delete the image, and run the same command again.")
    IMPORT_NOT_STARTED = "import-not-started", e.RefusedError, "The service treated the import as a dry run.", _AGAIN
    IMPORT_STILL_RUNNING = ("import-still-running", e.StillRunning, "The wait ended; the import continues.",
                            "Run `aliyun-import task wait`.")
    DRY_RUN_PASSED = "dry-run-passed", e.RefusedError, "The dry run passed.", "Leave --dry-run out."
    DRY_RUN_STARTED = ("dry-run-started", e.RefusedError, "The service started an import although DryRun was set.",
                       "Cancel the task unless the image is wanted.")
    TASK_UNKNOWN = ("task-unknown", e.RefusedError, "The task does not exist in the region.",
                    "Check the id with `aliyun-import task list`.")
    TASK_OVER = "task-over", e.RefusedError, "The task has ended.", "Show it with `aliyun-import task show`."
    TASK_NOT_CANCELLABLE = "task-not-cancellable", e.RefusedError, "Tasks of this kind can't be cancelled."
    TASK_NOT_CANCELLED = "task-not-cancelled", e.RefusedError, "The task could not be cancelled.", _AGAIN

    # Transient failures
    THROTTLED = ("throttled", e.Throttled, "The service limits the rate of requests or bytes.",
                 "Lower --jobs, set --limit-rate, or run the same command again later.")
    SERVICE_BUSY = "service-busy", e.TransientError, "ECS still processes an earlier request.", _AGAIN
    SERVICE_UNWELL = "service-unwell", e.TransientError, "The service is unavailable or has an internal error.", _AGAIN
    TIMED_OUT = "timed-out", e.TimedOut, "The service did not answer in time.", _NETWORK
    IMAGE_CREATING = "image-creating", e.TransientError, "Another import is creating an image of this name.", _AGAIN
    CONNECTION_LOST = "connection-lost", e.ConnectionLost, "The connection broke during the request.", _NETWORK
    CONNECTION_REFUSED = ("connection-refused", e.ServiceUnreachable, "The host refused the connection.",
                          "Check that the endpoint is right and its server is running.")
    CONNECT_TIMED_OUT = "connect-timed-out", e.ServiceUnreachable, "Connecting timed out.", _NETWORK
    HOST_UNKNOWN = ("host-unknown", e.ServiceUnreachable, "The name of the host can't be resolved.",
                    "Check the network, --region and the endpoint options.")
    GATEWAY_FAILED = ("gateway-failed", e.ServiceUnreachable, "A gateway, not the service, answered with an error.",
                      "Check the proxy or gateway, and run the same command again.")
    PROXY_FAILED = "proxy-failed", e.ServiceUnreachable, "The proxy did not connect.", "Check HTTPS_PROXY and NO_PROXY."
    TLS_FAILED = "tls-failed", e.ServiceUnreachable, "The TLS handshake failed.", _NETWORK
    ANSWER_UNREADABLE = ("answer-unreadable", e.ServiceUnreachable, "The answer is not one that the service sends.",
                         "Check for a captive portal or a proxy, and run the same command again.")

    # This machine
    JOURNAL_LOCKED = ("journal-locked", e.LocalStateError, "The same command is already running.",
                      "Wait for that process to end, or stop it, and run the same command again.")
    JOURNAL_UNREADABLE = ("journal-unreadable", e.LocalStateError, "The journal is damaged, or not a journal.",
                          "Move the file away and run the same command again: what is in OSS is found and kept.")
    JOURNAL_UNWRITABLE = ("journal-unwritable", e.LocalStateError, "The journal can't be created, locked or written.",
                          "Free space, or pass --state-dir with a writable directory on a local file system.")
    FILE_UNWRITABLE = "file-unwritable", (e.LocalStateError, WARNING), "A file can't be written.", "Pass another path."
    QEMU_MISSING = ("qemu-missing", e.LocalStateError, "A boot test requires QEMU.",
                    "Install QEMU with `sudo apt-get install qemu-system`.")
    QEMU_FAILED = "qemu-failed", e.LocalStateError, "QEMU could not start a guest.", "Install a current QEMU."
    SANDBOX_NOT_STARTED = "sandbox-not-started", e.LocalStateError, "The sandbox can't start.", "Pass another --port."
    SANDBOX_IN_USE = "sandbox-in-use", e.LocalStateError, "A sandbox already uses the directory.", "Stop it or use it."
    SANDBOX_NOT_RUNNING = ("sandbox-not-running", e.LocalStateError, "No sandbox uses the directory.",
                           "Start a sandbox with `aliyun-import sandbox serve`.")
    SYSTEM_LIMIT = ("system-limit", e.LocalStateError, "A limit on memory, threads or open files stops the run.",
                    "Raise the limit that the error names, or lower --jobs.")
    STDOUT_UNWRITABLE = "stdout-unwritable", e.LocalStateError, "The result could not be written.", "Free space."
    BUG = "bug", e.AliyunImportError, "A defect of this tool.", "Report it with the text on stderr."

    # Stopped
    INTERRUPTED = "interrupted", e.Interrupted, "The run was stopped.", _AGAIN
    DETACHED = ("detached", e.Interrupted, "The wait stopped; the import continues.", "Run `aliyun-import task wait`.")
    CANCELLED = ("cancelled", e.Interrupted, "The run was stopped, and the import was cancelled.",
                 "Run the same command again.")
    NOT_CANCELLED = ("not-cancelled", e.Interrupted, "The run was stopped, and the import could not be cancelled.",
                     "Run `aliyun-import task cancel`.")
    # fmt: on

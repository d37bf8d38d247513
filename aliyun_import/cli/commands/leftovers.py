"""This file is the command `leftovers`: what earlier pushes left in a bucket, and its removal."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aliyun_import.cli.context import command_context
from aliyun_import.cli.params import cloud_options, option, output_options

if TYPE_CHECKING:
    from aliyun_import.cleanup import Leftover, Places


@click.command()
@option("--bucket", help="Bucket to look into. Else aliyun-import-<account id>-<region>.")
@option(
    "--prefix",
    "prefixes",
    multiple=True,
    metavar="PREFIX",
    help="Look below this prefix, too, where --key of a push from another machine may have put a disk; repeatable.",
)
@option(
    "--remove",
    "patterns",
    multiple=True,
    metavar="KEY",
    help="Remove what has this key, or matches it as a pattern such as 'aliyun-import/web-*'; repeatable. "
    "Unfinished uploads can't be gone on with then.",
)
@option(
    "--state-dir", type=click.Path(file_okay=False, path_type=Path), help="Where the journals of the pushes are kept."
)
@cloud_options
@output_options
def leftovers(*, bucket: str | None, patterns: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401 -- click's options
    """List what earlier pushes left in the bucket: unfinished uploads, kept objects, and what belongs to them.

    It looks below aliyun-import/, at the keys that this machine's journals name, and below each --prefix; there,
    objects count that a push of this tool made, and all unfinished uploads.

    All of it costs storage. A push that runs now shows as an unfinished upload, too: nothing is removed unless --remove
    names it.
    """
    from fnmatch import fnmatchcase

    from aliyun_import.account.staging_bucket import PREFIX, derived_bucket
    from aliyun_import.cleanup import Places, find_leftovers, remove_leftover
    from aliyun_import.cli.render.result import Outcome
    from aliyun_import.cli.settings import state_directory
    from aliyun_import.events import Changed, Warned
    from aliyun_import.push.state import keys_by_bucket
    from aliyun_import.retry import first_contact, with_retries

    with command_context(given) as at:
        clock = at.clock
        name = bucket or derived_bucket(first_contact(at.cloud.identity.whoami, clock=clock).account_id, at.region)
        known = keys_by_bucket(state_directory(given["state_dir"]), region=at.region, endpoint=at.cloud.endpoint)
        places = Places(prefix=PREFIX, below=given["prefixes"], keys=tuple(sorted(known.get(name, ()))))
        store = at.cloud.store(name)
        there = first_contact(store.bucket_info, clock=clock)
        found = with_retries(lambda: find_leftovers(store, places), clock=clock) if there else ()
        for pattern in patterns:
            if not any(fnmatchcase(one.key, pattern) for one in found):
                at.voice.emit(Warned(code="nothing-to-remove", message=f"Nothing that is left has the key {pattern}."))
        removed = [one for one in found if any(fnmatchcase(one.key, pattern) for pattern in patterns)]
        for one in removed:
            with_retries(lambda one=one: remove_leftover(store, one), clock=clock)  # type: ignore[misc]
            at.voice.emit(Changed(what=f"removed {one.kind}", name=one.key))
        stays = [one for one in found if one not in removed]
        others = sorted(known.keys() - {name})
        document = {
            "command": "leftovers",
            "bucket": name,
            "region": at.region,
            "leftovers": [_document(one) for one in stays],
            "removed": [_document(one) for one in removed],
            "other_buckets": others,
        }
        aside = [] if stays else [_nothing(name, places)]
        aside += [
            f"pushes from this machine went to the bucket {other}, too: look with --bucket {other}" for other in others
        ]
        at.voice.outcome(Outcome(document=document, text=_text(stays), aside="\n".join(aside)))


def _nothing(bucket: str, places: "Places") -> str:
    keys = [key for key in places.keys if not key.startswith(places.prefix)]
    return f"nothing is left at {', '.join(f'oss://{bucket}/{at}' for at in (places.prefix, *places.below, *keys))}"


def _document(one: "Leftover") -> dict[str, Any]:
    return {
        "kind": one.kind.value,
        "key": one.key,
        "size_bytes": one.size_bytes,
        "since_s": one.since_s,
        "upload_id": one.upload_id,
        "has_manifest": one.has_manifest,
    }


def _text(stays: list["Leftover"]) -> str:
    from aliyun_import.cli.render.result import table
    from aliyun_import.sizes import size

    rows = [(one.kind.value, size(one.size_bytes), _since(one.since_s), one.key) for one in stays]
    return table(("WHAT", "SIZE", "SINCE", "KEY"), rows) if rows else ""


def _since(at_s: float | None) -> str:
    return "" if at_s is None else time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(at_s))

"""This file says what comes out of looking at a container: a reader of the disk in it, and what is wrong with it."""

from dataclasses import dataclass

from aliyun_import.disk.io.reader import Reader
from aliyun_import.disk.report import Container, Problem
from aliyun_import.model.request import DiskFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedContainer:
    """A container that was looked at.

    `disk` reads the disk inside; it is None when that can't be read, and `problems` or `unknowns` say why. `format` is
    what ECS would be told, None when ECS does not take it. `problems` and `unknowns` go into the report as they are.
    `parents` are the names of other files in the same folder that are read with it, the nearest first.
    """

    container: Container
    format: DiskFormat | None = None
    virtual_bytes: int | None = None
    disk: Reader | None = None
    problems: tuple[Problem, ...] = ()
    unknowns: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()

"""Tests of the schema of the JSON output."""

import json
import runpy
from pathlib import Path

import click
import pytest
from jsonschema import Draft202012Validator

from aliyun_import.cli.main import COMMANDS, app
from aliyun_import.cli.render.json import event_document, failure_document
from aliyun_import.cli.render.push import push_outcome
from tests.cli.render.test_failure import ERROR
from tests.cli.render.test_push import RESULT
from tests.cli.render.test_text import ALL_EVENTS, sample
from tests.rows import each_row
from tests.schemas import package_schema, validate

ROOT = Path(__file__).resolve().parents[3]


def test_the_schema_is_current_and_valid() -> None:
    """It follows the types of documents and events."""
    generated = runpy.run_path(str(ROOT / "docs" / "generate_schema.py"))["text"]()
    assert (ROOT / "aliyun_import" / "schema.json").read_text() == generated, "run `python docs/generate.py`"
    Draft202012Validator.check_schema(package_schema())


@each_row("event", ALL_EVENTS)
def test_every_event_matches_the_schema(event: type) -> None:
    """It has all fields and no others."""
    document = json.loads(json.dumps(event_document(sample(event)), default=str))
    validate(document)
    Draft202012Validator(package_schema()).validate(document)


def test_results_and_errors_match_the_schema() -> None:
    """tests/flows validates the documents of all commands."""
    validate(json.loads(json.dumps(failure_document(ERROR))))
    validate(json.loads(json.dumps({"type": "result", "schema": 1, **push_outcome(RESULT).document})))


def test_the_shipped_schema_accepts_new_fields() -> None:
    """Later versions may add fields. The tests refuse undocumented ones."""
    document = {**failure_document(ERROR), "new": 1}
    Draft202012Validator(package_schema()).validate(json.loads(json.dumps(document)))
    with pytest.raises(AssertionError, match="new"):
        validate(document)


def test_the_schema_has_the_result_of_every_command() -> None:
    """Of each command with --output, except `role policy`, which prints a RAM policy."""
    described = {
        command
        for one in package_schema()["$defs"].values()
        for command in one.get("properties", {}).get("command", {}).get("enum", [])
    }

    for name in COMMANDS:
        command = app.get_command(click.Context(app), name)
        inner = command.commands.items() if isinstance(command, click.Group) else [("", command)]
        for inner_name, one in inner:
            assert one is not None
            path = f"{name} {inner_name}".rstrip()
            if any(param.name == "output" for param in one.params) and path != "role policy":
                assert path in described

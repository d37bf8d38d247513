"""Account documents: settings, keys with their permissions, issuers of tokens, faults and time as JSON.

A document can be applied from a file (`sandbox serve --account`), over HTTP (POST /_sandbox/account) and in Python:

    {"settings": {"images_per_region": 0, "arrears": true, "default_encryption": "AES256"},
     "keys": [{"id": "CI", "secret": "ci", "principal": "user/ci", "policies": [{"Version": "1", "Statement": []}]},
              {"id": "STS.CI", "secret": "s", "token": "t", "expires_in_s": 900}],
     "faults": [{"operation": "UploadPart", "status": 503, "code": "ServiceUnavailable", "count": 3}],
     "clock": {"advance_s": 3600}}

A document with a mistake changes nothing. Fields that it omits stay unchanged in an existing key. `issuers` are the
issuers of OIDC tokens with their public keys: {"url": "https://token.example.com", "jwks": {"keys": [...]}}.
"""

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from aliyun_import.sandbox.auth.policies import check_policy
from aliyun_import.sandbox.core.faults import STORAGE_EFFECTS, Fault
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import AccessKey, Settings, State
from aliyun_import.sandbox.ram.oidc import public_keys
from aliyun_import.sandbox.ram.state import Ram

Document = Mapping[str, Any]


@dataclass(frozen=True)
class ClockChange:
    """Change of the time."""

    advance_s: float = 0.0
    skew_s: float | None = None


@dataclass(frozen=True)
class Issuer:
    """Issuer of OIDC tokens, and its public keys."""

    url: str
    jwks: Mapping[str, Any]


@dataclass(frozen=True)
class Account:
    """Decoded document."""

    settings: Mapping[str, Any] | None = None
    keys: tuple[Mapping[str, Any], ...] = ()
    issuers: tuple[Issuer, ...] = ()
    faults: tuple[Fault, ...] = ()
    clock: ClockChange | None = None


def apply(state: State, document: Document, *, operations: Mapping[str, str]) -> None:
    """Apply a document. Raises ValueError with the place of a mistake, without any change.

    `operations` are the names of all operations with their services.
    """
    account: Account = state.codec.decode(Account, document)
    with state.lock:
        check_settings(state, account.settings or {})
        keys = [changed_key(state, each, where=f"keys[{index}]") for index, each in enumerate(account.keys)]
        for index, issuer in enumerate(account.issuers):
            check_issuer(issuer, where=f"issuers[{index}].")
        for index, fault in enumerate(account.faults):
            check_fault(fault, operations, where=f"faults[{index}].")
        check_clock(account.clock or ClockChange())
        state.configure(**account.settings or {})
        for key in keys:
            state.add_key(key)
        for issuer in account.issuers:
            save_issuer(state, issuer)
        for fault in account.faults:
            state.faults.add(fault)
        move_clock(state, account.clock or ClockChange())


def check_settings(state: State, changes: Document) -> None:
    """Raise ValueError for a wrong value or an unknown name of a setting."""
    known = [item.name for item in fields(Settings)]
    for name in changes:
        if name not in known:
            raise ValueError(f"there is no setting {name}{_suggestion(name, known)}")
    state.codec.decode(Settings, asdict(state.settings) | dict(changes), "settings")


def changed_key(state: State, document: Document, *, where: str) -> AccessKey:
    """Return a new key, or an existing key with changes. Raises ValueError."""
    values = dict(document)
    if "expires_in_s" in values:
        expires_in_s = state.codec.decode(float, values.pop("expires_in_s"), f"{where}.expires_in_s")
        if not math.isfinite(expires_in_s):
            raise ValueError(f"{where}.expires_in_s takes a finite number of seconds")
        values["expires_s"] = state.clock.now_s() + expires_in_s
    if isinstance(values.get("policies"), list):
        values["policies"] = [_policy_text(each) for each in values["policies"]]
    if "session_policy" in values:
        values["session_policy"] = _policy_text(values["session_policy"])
    known = state.key(str(values.get("id")))
    previous = {} if known is None else state.codec.encode(known)
    key: AccessKey = state.codec.decode(AccessKey, previous | values, where)
    if not key.id or not key.secret:
        raise ValueError(f"{where}: id and secret must not be empty")
    for index, text in enumerate(key.policies or ()):
        _check_policy(text, where=f"{where}.policies[{index}]")
    if key.session_policy is not None:
        _check_policy(key.session_policy, where=f"{where}.session_policy")
    return key


def _check_policy(text: str, *, where: str) -> None:
    try:
        check_policy(text)
    except Refusal as refusal:
        raise ValueError(f"{where}: {refusal.message}") from refusal


def _policy_text(policy: object) -> object:
    return json.dumps(policy) if isinstance(policy, Mapping) else policy


def shown_key(key: AccessKey) -> dict[str, Any]:
    """Return a key without its secret and token."""
    shown = {name: value for name, value in asdict(key).items() if name not in ("secret", "token")}
    return shown | {"temporary": key.token is not None, "denied": sorted(key.denied)}


def check_issuer(issuer: Issuer, *, where: str = "") -> None:
    """Raise ValueError for an issuer without an https URL or without a public key for signatures."""
    if not issuer.url.startswith("https://"):
        raise ValueError(f"{where}url takes the URL of an issuer (https://...), not {issuer.url!r:.200}")
    try:
        public_keys(json.dumps(issuer.jwks))
    except ValueError as error:
        raise ValueError(f"{where}jwks: {error}") from error


def save_issuer(state: State, issuer: Issuer) -> None:
    """Store or replace the keys of an issuer. Raises ValueError."""
    check_issuer(issuer)
    with state.lock:
        state.part(Ram).issuers[issuer.url] = json.dumps(issuer.jwks)


def check_fault(fault: Fault, operations: Mapping[str, str], *, where: str = "") -> None:
    """Raise ValueError for a fault that matches no operation, or whose effect its operations do not have."""
    matching = [name for name in operations if fnmatchcase(name, fault.operation)]
    if not matching:
        suggestion = _suggestion(fault.operation, [*operations])
        raise ValueError(f"{where}operation: the sandbox has no operation {fault.operation}{suggestion}")
    if fault.effect in STORAGE_EFFECTS and not any(operations[name] == "oss" for name in matching):
        raise ValueError(f"{where}effect: {fault.effect} is for operations of OSS, not for {fault.operation}")


def check_clock(change: ClockChange) -> None:
    """Raise ValueError for a number that is not finite, or a move backwards."""
    if not math.isfinite(change.advance_s) or change.advance_s < 0:
        raise ValueError("clock.advance_s takes a number of seconds from 0: the time of the sandbox moves forward only")
    if change.skew_s is not None and not math.isfinite(change.skew_s):
        raise ValueError("clock.skew_s takes a number of seconds")


def move_clock(state: State, change: ClockChange) -> None:
    """Change the time. Raises ValueError."""
    check_clock(change)
    state.clock.advance(change.advance_s)
    if change.skew_s is not None:
        state.clock.set_skew(change.skew_s)


def _suggestion(name: str, known: list[str]) -> str:
    similar = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {similar[0]}?" if similar else ""

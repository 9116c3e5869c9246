"""Personal data is masked before it is shown, by the rules of Millrace's own page (`crates/millrace-dashboard/src/mask.rs`).

Ids of visitors, accounts, cards and devices keep their first and last characters; addresses lose their host part.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

PERSONAL = {
    "visitor_id",
    "anonymous_id",
    "user_id",
    "session_id",
    "card_token",
    "card_bin",
    "device_id",
    "email",
    "email_hash",
    "entity",
    "shipping_address_hash",
}
ADDRESSES = {"ip", "client_ip", "remote_addr"}

_QUOTED = re.compile(rb'("(?:' + "|".join(sorted(PERSONAL | ADDRESSES)).encode() + rb')"[\s:]*")([^"]*)', re.DOTALL)
_ADDRESS = re.compile(rb"[0-9.]+")


def identifier(value: str) -> str:
    """`card_7f3e9a1c44b2` → `card…44b2`; short ids keep less."""
    length = len(value)
    if length <= 3:
        return "…" if length else ""
    head, tail = (1, 2) if length <= 8 else (2, 3) if length <= 11 else (4, 4)
    return f"{value[:head]}…{value[length - tail :]}"


def address(value: str) -> str:
    """`203.0.113.77` → `203.0.113.x`; of an IPv6 address the first two groups are kept."""
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        return identifier(value)
    if parsed.version == 4:
        return value.rsplit(".", 1)[0] + ".x"
    groups = parsed.exploded.split(":")
    return f"{int(groups[0], 16):x}:{int(groups[1], 16):x}:…"


def shown(column: str, value: str) -> str:
    """The value of a column as it may be shown."""
    if column in ADDRESSES:
        return address(value)
    if column == "signal_id":
        # rule:entity:seconds
        rule, sign, rest = value.partition(":")
        entity, last, seconds = rest.rpartition(":")
        return f"{rule}:{identifier(entity)}:{seconds}" if sign and last else identifier(value)
    return identifier(value) if column in PERSONAL else value


def row(fields: dict[str, Any]) -> dict[str, Any]:
    """A row with its personal columns masked, nested ones too."""
    is_address = fields.get("entity_kind") == "ip"

    def one(column: str, value: Any) -> Any:
        if isinstance(value, str):
            return address(value) if column == "entity" and is_address else shown(column, value)
        if isinstance(value, dict):
            return row(value)
        if isinstance(value, list):
            return [row(item) if isinstance(item, dict) else item for item in value]
        return value

    return {column: one(column, value) for column, value in fields.items()}


def raw(value: bytes) -> bytes:
    """Raw bytes of a record that may not even parse: the values of personal fields, and whatever looks like an IPv4
    address, are blotted out; the length stays."""

    def field(found: re.Match[bytes]) -> bytes:
        text = found[2]
        keep = 2 if len(text) > 8 else 1
        if len(text) <= 2 * keep:
            return found[1] + b"*" * len(text)
        return found[1] + text[:keep] + b"*" * (len(text) - 2 * keep) + text[-keep:]

    def dotted(found: re.Match[bytes]) -> bytes:
        try:
            ipaddress.IPv4Address(found[0].decode())
        except ValueError:
            return found[0]
        head, _, last = found[0].rpartition(b".")
        return head + b"." + b"*" * len(last)

    return _ADDRESS.sub(dotted, _QUOTED.sub(field, value))

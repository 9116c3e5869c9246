"""Where the store is: the environment, else what the running product wrote down, else the data folder's own file.

MILLRACE_STORE_URL ─▶ running.json in the data folder ─▶ millrace.db in the data folder ─▶ a message what to type
"""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SQLITE, POSTGRES = "sqlite", "postgres"


class StoreAway(Exception):
    """The store cannot be read now. `what` says why, `to_do` what to type (Markdown)."""

    def __init__(self, what: str, to_do: str) -> None:
        super().__init__(what)
        self.what, self.to_do = what, to_do


@dataclass(frozen=True)
class Address:
    """A store: its kind, what the driver takes (a file, or a URL with its password), and how it may be shown."""

    kind: str
    target: str
    shown: str


def data_dir(environment: Mapping[str, str]) -> Path:
    """The data folder, as the product finds it."""
    named = environment.get("MILLRACE_DATA_DIR")
    if named:
        return Path(named).expanduser()
    share = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(share).expanduser() / "millrace"


def parse(url: str) -> Address:
    """Reads a URL as Millrace writes it: `sqlite:///path`, `sqlite://path`, `sqlite:path`, `postgres://…`."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        path = urllib.parse.unquote(rest.removeprefix("//").split("?")[0])
        if path and ":memory:" not in path:
            return Address(SQLITE, path, path)
    if scheme in ("postgres", "postgresql") and rest.startswith("//"):
        return Address(POSTGRES, url, masked(url))
    raise StoreAway(
        f"`MILLRACE_STORE_URL` names no store that can be read: `{masked(url)}`",
        "Write `sqlite:///folder/millrace.db` or `postgres://user@host:5432/database`.",
    )


def masked(url: str) -> str:
    """The URL as it may be shown: without its password."""
    start = url.find("://") + 3
    at = url.rfind("@")
    if start > 2 and at > start:
        url = f"{url[:start]}{url[start:at].split(':')[0]}:***{url[at:]}" if ":" in url[start:at] else url
    head, sign, query = url.partition("?")
    kept = [pair if not pair.startswith("password=") else "password=***" for pair in query.split("&")]
    return head + sign + "&".join(kept)


def find(environment: Mapping[str, str] | None = None) -> Address:
    """The store to read now. It is looked for at every refresh, so that a product started later is found."""
    environment = os.environ if environment is None else environment
    url = environment.get("MILLRACE_STORE_URL")
    if url:
        return parse(url)
    folder = data_dir(environment)
    try:
        running = json.loads((folder / "running.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        running = None
    if isinstance(running, dict):
        if running.get("store"):
            return parse(str(running["store"]))
        raise StoreAway(
            "Millrace runs and keeps its results in PostgreSQL, whose URL (it may hold a password) is not written down.",
            "Start this page with the URL that `millrace up --store` got:\n\n"
            "```sh\nMILLRACE_STORE_URL=postgres://user@host:5432/database streamlit run app.py\n```",
        )
    file = folder / "millrace.db"
    if file.exists():
        return Address(SQLITE, str(file), str(file))
    raise StoreAway(
        f"Nothing is running here: `{folder}` holds no store yet.",
        "Start Millrace, and this page fills by itself:\n\n```sh\nmillrace up\n```\n\nIf it runs with another data folder "
        "or on another machine, set `MILLRACE_DATA_DIR` or `MILLRACE_STORE_URL` and start this page again.",
    )

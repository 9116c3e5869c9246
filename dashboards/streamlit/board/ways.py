"""The ways of many sessions as one picture: source → landing page → furthest stage → how it ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from board.text import label, missing

STAGES = {
    "visit": "Visit",
    "product": "Product",
    "cart": "Cart",
    "checkout": "Checkout",
    "payment": "Payment",
    "purchase": "Purchase",
}
# Kinds told apart in a layer; the rest is "Other".
KINDS_MAX = 6
LAYERS = 4


@dataclass(frozen=True)
class Flow:
    """Nodes (layer from left to right, label, sessions) and links (left node, right node, sessions)."""

    nodes: list[tuple[int, str, int]]
    links: list[tuple[int, int, int]]


def page_kind(path: object) -> str:
    """What kind of page a path is, by its first segment: `/product/17?x=1` → `Product`, `/` → `Home`."""
    if missing(path) or not path:
        return "Unknown page"
    segments = [part for part in str(path).split("?")[0].split("#")[0].split("/") if part]
    first = segments[0] if segments else "home"
    # As many shops shorten them.
    return label({"p": "product", "c": "category"}.get(first, first).replace("-", "_"))


def flow(sessions: pd.DataFrame) -> Flow:
    """Adds up the ways of these sessions."""
    columns = ["channel", "landing_path", "stage", "exit_path", "cart_abandoned"]
    ways = [_way(*row) for row in sessions[columns].itertuples(index=False)]
    kept = [dict(Counter(way[at] for way in ways).most_common(KINDS_MAX)) for at in range(LAYERS)]
    named = [tuple(name if name in kept[at] else "Other" for at, name in enumerate(way)) for way in ways]
    sums = Counter((at, name) for way in named for at, name in enumerate(way))
    nodes = sorted(sums)
    index = {node: place for place, node in enumerate(nodes)}
    links = Counter((index[at, way[at]], index[at + 1, way[at + 1]]) for way in named for at in range(LAYERS - 1))
    return Flow([(*node, sums[node]) for node in nodes], [(*ends, number) for ends, number in sorted(links.items())])


def _way(channel: object, landing: object, stage: str, leaving: object, cart_left: bool) -> tuple[str, str, str, str]:
    end = "Bought" if stage == "purchase" else "Left a cart" if cart_left else f"Left from {page_kind(leaving).lower()}"
    source = "Unknown source" if missing(channel) or not channel else label(channel)
    return source, f"Lands on {page_kind(landing).lower()}", STAGES.get(stage, label(stage)), end


def reached(channels: pd.DataFrame) -> pd.DataFrame:
    """Sessions of each channel that came at least as far as each stage; most sessions first."""
    wide = channels.pivot_table(index="channel", columns="stage", values="sessions", aggfunc="sum", fill_value=0)
    wide = wide.reindex(columns=list(STAGES), fill_value=0)
    # Who bought has also visited: a stage counts for all before it.
    least = wide.iloc[:, ::-1].cumsum(axis=1).iloc[:, ::-1]
    return least.sort_values("visit", ascending=False)

"""Sessions: who came and how far they went, the way of one of them, and the carts left behind."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import streamlit as st

from board import figures, mask, reads, text
from board.chart import chart
from board.frame import Scene, facts, live, panel
from board.ways import STAGES, flow, reached
from board.windows import ratio

# Lengths in seconds, and how they are called.
LENGTHS = (
    (0, "one event"),
    (30, "to 30 s"),
    (60, "to 1 min"),
    (180, "to 3 min"),
    (600, "to 10 min"),
    (1800, "to 30 min"),
)
LONGER = "longer"
CHANNEL_DAYS = 1
PATHS_MAX = 10


def _lengths(seconds: pd.Series) -> tuple[list[str], list[int]]:
    names = [name for _, name in LENGTHS] + [LONGER]
    edges = [-1.0, *(limit for limit, _ in LENGTHS), float("inf")]
    parts = pd.cut(seconds, edges, labels=names).value_counts()
    return names, [int(parts[name]) for name in names]


def _carts(scene: Scene, sums: pd.DataFrame, shown: pd.DataFrame) -> None:
    left, right = st.columns(2)
    fresh = scene.fresh("abandoned_carts")
    with left, panel("reasons", "Abandoned carts", f"by likely reason, {scene.choice.words}", fresh):
        figure = figures.bars(
            "reasons", [text.label(name) for name in sums["reason"]], sums["carts"].tolist(), "Carts", "var(--c2)"
        )
        chart(
            "reasons",
            figure if len(sums) else None,
            "Abandoned carts by reason",
            300,
            "No cart left behind in this time",
        )
    with (
        right,
        panel(
            "carts",
            "Newest abandoned carts",
            f"of {text.count(sums['carts'].sum())} in the {scene.choice.words}",
            fresh,
        ),
    ):
        kept = [
            ", ".join(one for one in (added or []) if one not in (removed or []))
            for added, removed in zip(shown["products_added"], shown["products_removed"], strict=True)
        ]
        table = pd.DataFrame(
            {
                "Left, UTC": shown["last_event_time"],
                "Visitor": [mask.identifier(name) for name in shown["visitor_id"]],
                "Worth": [text.money(minor, scene.currency) for minor in shown["cart_minor"]],
                "Reason": [text.label(name) for name in shown["reason"]],
                "Products": kept,
                "Channel": shown["channel"],
            }
        )
        time = st.column_config.DatetimeColumn(format="HH:mm:ss", timezone="UTC")
        st.dataframe(
            table, key="carts", hide_index=True, height=300, placeholder=text.NONE, column_config={"Left, UTC": time}
        )


def _journey(scene: Scene, sessions: pd.DataFrame) -> None:
    with panel("journey", "One visitor's way", "choose one of the newest sessions", scene.fresh("sessions")):
        stage = st.pills("Furthest stage", list(STAGES), key="stage", bind="query-params", format_func=STAGES.get)
        listed = sessions if stage is None else sessions[sessions["stage"] == stage]
        listed = listed.head(reads.SESSIONS_LISTED_MAX).reset_index(drop=True)
        left, right = st.columns(2)
        times = st.column_config.DatetimeColumn(format="HH:mm:ss", timezone="UTC")
        # What was chosen is kept by its key, not its place: newer sessions move the rows down.
        keys = [f"{row.visitor_id}|{row.session_start.isoformat()}" for row in listed.itertuples()]
        marked = st.session_state.get("session_chosen")
        table = pd.DataFrame(
            {
                " ": ["→" if key == marked else "" for key in keys],
                "Last event, UTC": listed["last_event_time"],
                "Visitor": [mask.identifier(name) for name in listed["visitor_id"]],
                "Stage": [STAGES.get(name, name) for name in listed["stage"]],
                "Length": [text.length(seconds) for seconds in listed["seconds"]],
                "Events": listed["events"],
                "Channel": listed["channel"],
                "Country": listed["country"],
                "Device": listed["device_type"],
                "Bought": [
                    text.money(row.revenue_minor, row.currency) if row.orders else "" for row in listed.itertuples()
                ],
            }
        )

        def choose() -> None:
            rows = st.session_state["sessions"]["selection"]["rows"]
            if rows and rows[0] < len(keys):
                st.session_state["session_chosen"] = keys[rows[0]]

        with left:
            st.dataframe(
                table,
                key="sessions",
                hide_index=True,
                height=360,
                on_select=choose,
                selection_mode="single-row",
                column_config={"Last event, UTC": times, " ": st.column_config.TextColumn(width=28)},
                placeholder=text.NONE,
            )
        if marked is None and len(listed):
            # Until one is chosen: of the newest the one with most to see.
            marked = keys[
                int((listed["orders"].clip(upper=1) * 1000 + listed["events"].clip(upper=40)).head(20).idxmax())
            ]
        with right:
            _steps(scene, marked, times)


def _steps(scene: Scene, key: str | None, times: object) -> None:
    if key is None:
        st.caption("No session in this time.")
        return
    visitor, _, start = key.partition("|")
    steps = pd.DataFrame(
        reads.journey(scene.store, visitor, pd.Timestamp(start).to_pydatetime()),
        columns=["event_time", "event_type", "path", "product_id"],
    )
    table = pd.DataFrame(
        {
            "Time, UTC": pd.to_datetime(steps["event_time"], utc=True, format="ISO8601"),
            "Event": [text.label(name) for name in steps["event_type"]],
            "Page": steps["path"],
            "Product": steps["product_id"],
        }
    )
    st.dataframe(
        table, key="steps", hide_index=True, height=332, placeholder=text.NONE, column_config={"Time, UTC": times}
    )
    st.caption(f"Visitor {mask.identifier(visitor)}, session from {text.clock(pd.Timestamp(start))} UTC")


def draw(scene: Scene) -> None:
    """The page."""
    closed = reads.session_clock(scene.store) or scene.at
    since, shop, words = closed - scene.choice.length, scene.shop, scene.choice.words
    number = reads.session_count(scene.store, since, shop)
    sessions = reads.sessions(scene.store, since, shop)
    sessions["seconds"] = (sessions["last_event_time"] - sessions["session_start"]) / timedelta(seconds=1)
    reasons = reads.cart_reasons(scene.store, since, shop)
    of = f"newest {len(sessions):,}" if len(sessions) < number else words
    some = len(sessions)
    bounced = ratio(int((sessions["events"] <= 1).sum()), some)
    bought = ratio(int((sessions["orders"] > 0).sum()), some)
    worth = sessions.loc[sessions["currency"] == scene.currency, "revenue_minor"].sum()
    facts(
        "sessions",
        [
            ("Sessions closed", text.count(number), words),
            ("Median length", text.length(sessions["seconds"].median() if some else None), of),
            ("Bounced", text.share(bounced), "one event only"),
            ("Bought", text.share(bought), of),
            ("Worth of a session", text.money(worth / some if some else None, scene.currency), of),
            (
                "Abandoned carts",
                text.count(reasons["carts"].sum()),
                f"worth {text.money(int(reasons['cart_minor'].sum()), scene.currency)}",
            ),
        ],
    )
    fresh = scene.fresh("sessions", None)
    with panel("flow", "Ways through the shop", f"source → landing page → furthest stage → end, {of}", fresh):
        chart(
            "flow",
            figures.sankey(flow(sessions)) if some else None,
            "Ways of sessions from source to end",
            420,
            "No session closed in this time: one is closed by 30 minutes of silence",
            width_min=640,
        )
    left, right = st.columns(2)
    with (
        left,
        panel(
            "reached", "How far sessions came", "by channel, last 24 hours, all stores", scene.fresh("session_funnel")
        ),
    ):
        table = reached(reads.channels(scene.store, scene.at - timedelta(days=CHANNEL_DAYS)))
        chart(
            "reached", figures.reached(table) if len(table) else None, "Part of sessions that reached each stage", 320
        )
    with right, panel("lengths", "Length", f"from first to last event, {of}", fresh):
        names, numbers = _lengths(sessions["seconds"])
        figure = figures.histogram("lengths", names, numbers, "Length of a session", "Sessions")
        chart("lengths", figure if some else None, "Sessions by length", 320)
    left, right = st.columns(2)
    with left, panel("stages", "Furthest stage", of, fresh):
        counts = sessions["stage"].value_counts()
        numbers = [int(counts.get(stage, 0)) for stage in STAGES]
        figure = figures.bars("stages", list(STAGES.values()), numbers, "Sessions")
        chart("stages", figure if some else None, "Sessions by furthest stage", 300)
    with right, panel("paths", "Top paths", f"landing page → last page, {of}", fresh):
        pages = sessions["landing_path"].fillna("?") + " → " + sessions["exit_path"].fillna("?")
        top = pages.value_counts().head(PATHS_MAX)
        figure = figures.bars("paths", top.index.tolist(), [int(n) for n in top], "Sessions", "var(--c4)")
        chart("paths", figure if some else None, "Most frequent pairs of landing and last page", 300)
    _carts(scene, reasons, reads.carts(scene.store, since, shop))
    _journey(scene, sessions)


live("Sessions", draw)

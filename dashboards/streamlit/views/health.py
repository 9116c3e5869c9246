"""Health: how far every table has come, what was set aside and why."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import timedelta

import pandas as pd
import streamlit as st

from board import figures, jobs, mask, reads, text
from board.chart import chart
from board.frame import Scene, facts, live, panel

STREAMS = {"user_events": "var(--c1)", "transactions": "var(--c2)", "inventory_updates": "var(--c3)"}
LEDGER_MINUTES = 60
# Bytes of a record that are shown.
VALUE_BYTES_MAX = 2_048


def _value(encoded: object) -> str:
    if not isinstance(encoded, str):
        return "no value (a tombstone)"
    try:
        value = base64.b64decode(encoded)
    except binascii.Error:
        return "its base64 is broken"
    shown = mask.raw(value)[:VALUE_BYTES_MAX]
    cut = f"\n… {len(value) - len(shown):,} bytes more" if len(shown) < len(value) else ""
    try:
        return json.dumps(json.loads(shown), indent=2, ensure_ascii=False) + cut
    except (ValueError, RecursionError):
        return shown.decode("utf-8", errors="backslashreplace") + cut


def _lags(history: pd.DataFrame, sources_of: set[str]) -> dict[str, tuple[list[str], list[float]]]:
    """Records behind by minute: of each job its table that is furthest behind."""
    known = history[history["name"].isin(sources_of)].dropna(subset=["records_behind"])
    worst = known.groupby(["job", "minute"], as_index=False)["records_behind"].max()
    return {
        job: (figures.times(rows["minute"]), rows["records_behind"].astype(float).tolist())
        for job, rows in worst.groupby("job")
    }


def draw(scene: Scene) -> None:
    """The page."""
    recent = reads.history(scene.store, scene.now.replace(second=0, microsecond=0) - scene.choice.length)
    pace_since = scene.now - timedelta(minutes=jobs.PACE_MINUTES)
    pace = jobs.paces(recent[recent["minute"] >= pace_since], scene.progress)
    table = jobs.jobs(scene.progress, pace, scene.now)
    worst, behind = jobs.worst(table["condition"]), jobs.furthest_behind(table)
    sums = table[["late", "malformed", "duplicate"]].max() if len(table) else pd.Series(dtype=float)
    lag = table["lag"].dropna().max() if len(table) else None
    facts(
        "health",
        [
            ("Condition", jobs.CONDITIONS[worst], f"worst of {len(table)} tables"),
            ("Furthest behind", text.length(behind), "behind the clock"),
            ("Unread records", text.count(lag), "of the table with most"),
            ("Late", text.count(sums.get("late")), "of the table with most"),
            ("Malformed", text.count(sums.get("malformed")), "of the table with most"),
            ("Duplicates", text.count(sums.get("duplicate")), "of the table with most"),
        ],
    )
    newest = scene.progress["time"].max() if len(scene.progress) else None
    with panel("jobs", "Tables", "by job", f"told {text.ago(newest, scene.now)}"):
        shown = table.assign(
            condition=[jobs.CONDITIONS[name] for name in table["condition"]],
            delay=[text.length(seconds) for seconds in table["delay"]],
            state_mib=table["state_bytes"].astype(float) / 2**20,
        )
        st.dataframe(
            shown,
            key="jobs",
            hide_index=True,
            height=420,
            placeholder=text.NONE,
            column_order="condition job name lag delay pace watermark records_in late malformed duplicate state_mib "
            "written".split(),
            column_config={
                "condition": "Condition",
                "job": "Job",
                "name": "Table",
                "lag": st.column_config.NumberColumn("Lag, records", format="localized"),
                "delay": "Behind the clock",
                "pace": st.column_config.NumberColumn("Records/s", format="%.0f"),
                "watermark": st.column_config.DatetimeColumn("Watermark, UTC", format="HH:mm:ss", timezone="UTC"),
                "records_in": st.column_config.NumberColumn("Records read", format="localized"),
                "late": "Late",
                "malformed": "Malformed",
                "duplicate": "Duplicates",
                "state_mib": st.column_config.NumberColumn("State, MiB", format="%.1f"),
                "written": st.column_config.DatetimeColumn("Written, UTC", format="HH:mm:ss", timezone="UTC"),
            },
        )
    left, right = st.columns(2)
    with left, panel("ledger", "Records by stream", "each minute, last hour", scene.fresh("ledger")):
        ledger = reads.ledger(scene.store, scene.at - timedelta(minutes=LEDGER_MINUTES))
        wide = ledger.pivot_table(index="window_start", columns="stream", values="records", aggfunc="sum", fill_value=0)
        wide = wide.reindex(columns=list(STREAMS), fill_value=0)
        figure = figures.stacked("ledger", wide, STREAMS, "Minute, UTC", "Records a minute")
        chart("ledger", figure if len(wide) else None, "Records by stream and minute", 300, "No record yet")
    with (
        right,
        panel(
            "lag",
            "Lag",
            f"unread records by job and minute, {scene.choice.words}",
            f"told {text.ago(newest, scene.now)}",
        ),
    ):
        lines = _lags(recent, set(table["name"]))
        figure = figures.lines("lag", lines, "Minute, UTC", "Unread records")
        chart("lag", figure if lines else None, "Unread records by job", 300, "The first minute is not over yet")
    _dead(scene)


def _dead(scene: Scene) -> None:
    since, words = scene.now - scene.choice.length, f"set aside in the {scene.choice.words}"
    fresh = scene.fresh("dead_letters")
    written = reads.dead_counts(scene.store, since)
    left, right = st.columns([2, 3])
    with left, panel("dead", "Dead letters by cause", words, ""):
        names = [f"{text.label(row.code)} · {row.topic}" for row in written.itertuples()]
        figure = figures.bars(
            "dead", names[:12], [int(n) for n in written["records"][:12]], "Records", "var(--critical)"
        )
        chart(
            "dead", figure if len(written) else None, "Dead letters by cause", 420, "Nothing was set aside in this time"
        )
    with right, panel("letters", "Newest dead letters", words, fresh if scene.written("dead_letters") else ""):
        codes = sorted(written["code"].unique())
        kept = st.session_state.get("code")
        code = st.selectbox(
            "Cause",
            ["", *sorted({*codes, *([kept] if kept else [])})],
            key="code",
            format_func=lambda name: text.label(name) if name else "All causes",
        )
        letters = reads.dead_letters(scene.store, since, code or None)
        marked = st.session_state.get("letter_chosen")
        ids = letters["dead_letter_id"].tolist()
        shown = letters.assign(
            mark=["→" if name == marked else "" for name in ids],
            source=[f"{row.topic}/{row.part}/{row.place}" for row in letters.itertuples()],
        )

        def choose() -> None:
            rows = st.session_state["letters"]["selection"]["rows"]
            if rows and rows[0] < len(ids):
                st.session_state["letter_chosen"] = ids[rows[0]]

        time = st.column_config.DatetimeColumn("Set aside, UTC", format="HH:mm:ss", timezone="UTC")
        st.dataframe(
            shown,
            key="letters",
            hide_index=True,
            height=200,
            on_select=choose,
            selection_mode="single-row",
            column_order="mark first_seen kind code reason source name".split(),
            placeholder=text.NONE,
            column_config={
                "mark": st.column_config.TextColumn(" ", width=28),
                "first_seen": time,
                "kind": "Kind",
                "code": "Cause",
                "reason": "Reason",
                "source": "Topic/partition/offset",
                "name": "Late for",
            },
        )
        chosen = letters[letters["dead_letter_id"] == marked] if marked in ids else letters.head(1)
        with st.container(key="value"):
            for row in chosen.itertuples():
                st.code(_value(row.value_base64), language="json", height=150)
            if chosen.empty:
                st.caption("Nothing was set aside: no value to show.")


live("Health", draw)

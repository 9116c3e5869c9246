"""Fraud: which attacks run, since when, how bad, and what each was judged by. Personal data is masked."""

from __future__ import annotations

import json

import pandas as pd
import streamlit as st

from board import figures, mask, reads, signals, text
from board.chart import chart
from board.frame import Scene, facts, live, panel
from board.signals import SEVERITIES

NOTES = {"critical": "act now", "high": "look at these next", "medium": "keep an eye on", "low": "for the record"}
LISTED_MAX = 200
EVIDENCE_ROWS_MAX = 20


def draw(scene: Scene) -> None:
    """The page."""
    rows = reads.signals(scene.store, scene.at - scene.choice.length)
    fresh, words = scene.fresh("fraud_signals"), f"{scene.choice.words}, all stores"
    attacks = signals.groups(rows, scene.watermark)
    by_severity = attacks["severity"].value_counts()
    facts(
        "fraud",
        [
            (f"{text.label(name)} attacks", text.count(int(by_severity.get(name, 0))), NOTES[name])
            for name in SEVERITIES
        ],
    )
    left, right = st.columns([3, 2])
    with left, panel("signals", "Signals over time", f"by severity, {words}", fresh):
        table = signals.over_time(rows, scene.at, scene.choice.range_name, scene.choice.length)
        figure = figures.stacked("signals", table, figures.SEVERITY_COLOURS, "Time of the last payment, UTC", "Signals")
        chart(
            "signals",
            figure if len(rows) else None,
            "Fraud signals over time by severity",
            300,
            "No signal in this time",
        )
    with right, panel("rules", "Attacks by rule", words, fresh):
        by_rule = attacks["rule"].value_counts()
        figure = figures.bars(
            "rules", [text.label(name) for name in by_rule.index], [int(n) for n in by_rule], "Attacks", "var(--c4)"
        )
        chart("rules", figure if len(attacks) else None, "Attacks by rule", 300, "No attack in this time")
    with panel(
        "attacks", "Attacks", "one line a rule and whom it is about, newest first; choose one for its evidence", fresh
    ):
        _attacks(scene, rows, attacks)


def _attacks(scene: Scene, rows: pd.DataFrame, attacks: pd.DataFrame) -> None:
    one, two, three = st.columns([2, 2, 2])
    severity = one.pills("Severity", list(SEVERITIES), key="severity", bind="query-params", format_func=text.label)
    rules = sorted(attacks["rule"].unique())
    kept = st.session_state.get("rule_wanted")
    rule = two.selectbox(
        "Rule",
        ["", *sorted({*rules, *([kept] if kept else [])})],
        key="rule_wanted",
        format_func=lambda name: text.label(name) if name else "All rules",
    )
    search = three.text_input("Search", key="find", bind="query-params", placeholder="entity as shown, or a payment id")
    found = attacks
    if severity:
        found = found[found["severity"] == severity]
    if rule:
        found = found[found["rule"] == rule]
    if search:
        with_payment = {
            signals.group_id(row.rule, row.entity) for row in rows.itertuples() if search in (row.payment_ids or [])
        }
        found = found[found["entity"].str.contains(search, case=False, regex=False) | found["id"].isin(with_payment)]
    found = found.head(LISTED_MAX).reset_index(drop=True)
    # What was chosen is kept by its name, not its place: newer attacks move the rows down.
    chosen = st.session_state.get("attack_chosen")
    ids = found["id"].tolist()
    table = found.assign(
        mark=["→" if name == chosen else "" for name in ids],
        severity=found["severity"].map(text.label),
        rule=found["rule"].map(text.label),
        kind=found["entity_kind"].map(text.label),
        amount=[text.money(row.amount_minor, row.currency) for row in found.itertuples()],
    )

    def choose() -> None:
        places = st.session_state["attacks"]["selection"]["rows"]
        if places and places[0] < len(ids):
            st.session_state["attack_chosen"] = ids[places[0]]

    time = st.column_config.DatetimeColumn("Last payment, UTC", format="HH:mm:ss", timezone="UTC")
    left, right = st.columns([3, 2])
    with left:
        st.dataframe(
            table,
            key="attacks",
            hide_index=True,
            height=420,
            on_select=choose,
            selection_mode="single-row",
            column_order="mark severity rule entity last_seen payments declines cards amount state reason".split(),
            placeholder=text.NONE,
            column_config={
                "mark": st.column_config.TextColumn(" ", width=28),
                "severity": "Severity",
                "rule": "Rule",
                "entity": "About",
                "last_seen": time,
                "payments": "Payments",
                "declines": "Declines",
                "cards": "Cards",
                "amount": "Amount",
                "state": "State",
                "reason": "Why",
            },
        )
    with right:
        known = attacks[attacks["id"] == chosen] if chosen else found.head(1)
        _evidence(rows, known if len(known) else found.head(1))


def _evidence(rows: pd.DataFrame, chosen: pd.DataFrame) -> None:
    if chosen.empty:
        st.caption("No attack matches: nothing to show evidence of.")
        return
    attack = chosen.iloc[0]
    st.markdown(
        f"**{text.label(attack['rule'])}** · {text.label(attack['entity_kind'])} `{attack['entity']}` · "
        f"{attack['severity']}  \n{text.label(attack['reason'])}; "
        f"{text.money(attack['amount_minor'], attack['currency'])} from {text.clock(attack['first_seen'])} to "
        f"{text.clock(attack['last_seen'])} UTC, {attack['state']}"
    )
    of_it = [
        signals.group_id(row.rule, row.entity) == attack["id"]
        for row in rows[["rule", "entity"]].itertuples(index=False)
    ]
    evidence = [mask.row(row) for row in rows[of_it].head(EVIDENCE_ROWS_MAX).to_dict("records")]
    pretty = json.dumps(evidence, indent=2, ensure_ascii=False, default=_plain)
    with st.container(key="evidence"):
        st.code(pretty, language="json", height=330)


def _plain(value: object) -> object:
    return (
        value.isoformat() if isinstance(value, pd.Timestamp) else value.item() if hasattr(value, "item") else str(value)
    )


live("Fraud", draw)

"""Figures: plain Plotly, with the colours as names (`var(--c1)`) that the page turns into those of its theme."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from board.text import label, major
from board.ways import STAGES, Flow

SEVERITY_COLOURS = {
    "critical": "var(--critical)",
    "high": "var(--high)",
    "medium": "var(--medium)",
    "low": "var(--low)",
}
COLOURS = ("var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--faint)", "var(--medium)")
# Names longer than this are cut in a chart; the table beside it has them in full.
NAME_LETTERS_MAX = 26


def base(name: str, figure: go.Figure | None = None, legend: bool = True) -> go.Figure:
    """An empty figure with the look of them all. The same `name` keeps zoom and hidden lines over refreshes."""
    figure = go.Figure() if figure is None else figure
    figure.update_layout(
        template="none",
        uirevision=name,
        margin={"l": 8, "r": 12, "t": 24 if legend else 8, "b": 8},
        font={"family": "inherit, sans-serif", "size": 12, "color": "var(--muted)"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="x unified",
        bargap=0.18,
        hoverlabel={
            "bgcolor": "var(--surface)",
            "bordercolor": "var(--line)",
            "font": {"color": "var(--ink)", "size": 12},
        },
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "title": {"text": ""}},
        showlegend=legend,
        dragmode="zoom",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "var(--faint)", "activecolor": "var(--ink)"},
    )
    figure.update_xaxes(
        gridcolor="var(--grid)",
        linecolor="var(--line)",
        zeroline=False,
        automargin=True,
        showgrid=False,
        title_standoff=6,
    )
    figure.update_yaxes(
        gridcolor="var(--grid)",
        linecolor="var(--line)",
        zeroline=False,
        automargin=True,
        title_standoff=6,
        rangemode="tozero",
    )
    return figure


def times(values: pd.Series | pd.DatetimeIndex) -> list[str]:
    """Times as Plotly takes them, in UTC."""
    index = pd.DatetimeIndex(values)
    return [moment.strftime("%Y-%m-%d %H:%M:%S") for moment in index]


def revenue(
    frame: pd.DataFrame, before: pd.DataFrame, finals: list[bool], currency: str, shift: pd.Timedelta
) -> go.Figure:
    """Revenue and orders by window; the period before in grey, windows that still grow dotted and pale."""
    figure = base(
        "revenue", make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.06)
    )
    x = times(frame["window_start"])
    gross = [major(value, currency) for value in frame["gross_minor"]]
    final = sum(finals)
    money = f"%{{y:,.2f}} {currency}"
    figure.add_scatter(
        x=times(before["window_start"] + shift),
        y=[major(value, currency) for value in before["gross_minor"]],
        name="Revenue, period before",
        mode="lines",
        line={"color": "var(--faint)", "width": 1},
        hovertemplate=money,
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=x[:final],
        y=gross[:final],
        name="Revenue",
        mode="lines",
        line={"color": "var(--c1)", "width": 2},
        fill="tozeroy",
        fillcolor="var(--c1soft)",
        hovertemplate=money,
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=x[max(final - 1, 0) :],
        y=gross[max(final - 1, 0) :],
        name="Revenue, provisional",
        mode="lines+markers",
        line={"color": "var(--c1)", "width": 2, "dash": "dot"},
        marker={"size": 4},
        hovertemplate=money,
        row=1,
        col=1,
    )
    colours = ["var(--c2)" if is_final else "var(--c2soft)" for is_final in finals]
    figure.add_bar(
        x=x, y=frame["orders"].tolist(), name="Orders", marker={"color": colours}, hovertemplate="%{y:,}", row=2, col=1
    )
    figure.update_yaxes(title_text=f"Revenue, {currency}", row=1, col=1)
    figure.update_yaxes(title_text="Orders", row=2, col=1)
    figure.update_xaxes(tickformat="%H:%M", tickangle=0)
    figure.update_xaxes(title_text="Start of the 5-minute window, UTC", row=2, col=1)
    return figure


def pulse(frame: pd.DataFrame, currency: str) -> go.Figure:
    """Events, orders, revenue and declines of each second."""
    rows = [
        ("events", "Events", "var(--c1)", 1),
        ("orders", "Orders", "var(--c2)", 1),
        ("gross_minor", f"Revenue, {currency}", "var(--c3)", 0),
        ("payments_declined", "Declines", "var(--critical)", 1),
    ]
    figure = base("pulse", make_subplots(rows=4, cols=1, shared_xaxes=True, vertical_spacing=0.05), legend=False)
    x = times(frame["window_start"])
    for at, (column, title, colour, whole) in enumerate(rows, 1):
        y = frame[column].tolist() if whole else [major(value, currency) for value in frame[column]]
        figure.add_bar(x=x, y=y, name=title, marker={"color": colour}, hovertemplate="%{y:,}", row=at, col=1)
        figure.update_yaxes(title_text=title, nticks=3, row=at, col=1)
    figure.update_layout(bargap=0.05, margin={"l": 64})
    figure.update_yaxes(automargin=False, title_standoff=4)
    figure.update_xaxes(dtick=60_000, tickformat="%H:%M", tickangle=0)
    figure.update_xaxes(title_text="Second, UTC", row=4, col=1)
    return figure


def funnel(steps: list[tuple[str, int]]) -> go.Figure:
    """From a product's page to an order."""
    figure = base("funnel", legend=False)
    figure.add_funnel(
        y=[title for title, _ in steps],
        x=[number for _, number in steps],
        marker={"color": ["var(--c1)", "var(--c4)", "var(--c3)", "var(--c2)"]},
        text=[
            f"{number:,}" + (f"<br>{number / steps[at - 1][1]:.1%} of before" if at and steps[at - 1][1] else "")
            for at, (_, number) in enumerate(steps)
        ],
        textinfo="text",
        textposition="auto",
        connector={"visible": False},
        hovertemplate="%{y}: %{x:,}<br>%{percentInitial:.1%} of product views<extra></extra>",
        textfont={"color": "var(--ink)"},
        insidetextfont={"color": "var(--surface)"},
    )
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(visible=False)
    return figure


def bars(
    name: str, labels: list[str], values: list[float], unit: str, colour: str = "var(--c1)", hover: str = "%{x:,}"
) -> go.Figure:
    """Lying bars, the first on top."""
    figure = base(name, legend=False)
    figure.add_bar(
        y=[cut(text) for text in labels],
        x=values,
        orientation="h",
        marker={"color": colour},
        customdata=labels,
        hovertemplate=f"%{{customdata}}: {hover}<extra></extra>",
    )
    figure.update_layout(hovermode="closest")
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title_text=unit, showgrid=True, rangemode="tozero")
    return figure


def days(frame: pd.DataFrame, currency: str) -> go.Figure:
    """Gross and net revenue by day."""
    figure = base("days")
    x = [moment.strftime("%Y-%m-%d") for moment in frame["window_start"]]
    for column, title, colour in (("gross_minor", "Gross", "var(--c1)"), ("net_minor", "Net of refunds", "var(--c3)")):
        figure.add_bar(
            x=x,
            y=[major(value, currency) for value in frame[column]],
            name=title,
            marker={"color": colour},
            hovertemplate=f"%{{y:,.2f}} {currency}",
        )
    figure.update_layout(barmode="group")
    figure.update_xaxes(type="category", title_text="Day, UTC")
    figure.update_yaxes(title_text=f"Revenue, {currency}")
    return figure


def stacked(name: str, table: pd.DataFrame, colours: dict[str, str], x_title: str, y_title: str) -> go.Figure:
    """Bars over time, one layer a column."""
    figure = base(name)
    for column in table.columns:
        figure.add_bar(
            x=times(table.index),
            y=table[column].tolist(),
            name=label(column),
            hovertemplate="%{y:,}",
            marker={"color": colours[column]},
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text=x_title, tickformat="%H:%M", tickangle=0)
    figure.update_yaxes(title_text=y_title)
    return figure


def lines(name: str, series: dict[str, tuple[list[str], list[float]]], x_title: str, y_title: str) -> go.Figure:
    """Lines over time by name."""
    figure = base(name)
    for at, (title, (x, y)) in enumerate(series.items()):
        figure.add_scatter(
            x=x,
            y=y,
            name=title,
            mode="lines",
            hovertemplate="%{y:,.1f}",
            line={"color": COLOURS[at % len(COLOURS)], "width": 2},
        )
    figure.update_xaxes(title_text=x_title, tickformat="%H:%M", tickangle=0)
    figure.update_yaxes(title_text=y_title)
    return figure


def histogram(name: str, labels: list[str], values: list[int], x_title: str, y_title: str) -> go.Figure:
    """Standing bars in the order given."""
    figure = base(name, legend=False)
    figure.add_bar(x=labels, y=values, marker={"color": "var(--c1)"}, hovertemplate="%{y:,}<extra></extra>")
    figure.update_xaxes(type="category", title_text=x_title)
    figure.update_yaxes(title_text=y_title)
    return figure


def sankey(flow: Flow) -> go.Figure:
    """The ways of sessions, left to right."""
    figure = base("flow", legend=False)
    layers = ["var(--c1)", "var(--c4)", "var(--c3)", "var(--c2)"]
    figure.add_sankey(
        arrangement="snap",
        node={
            "label": [f"{name} · {number:,}" for _, name, number in flow.nodes],
            "pad": 14,
            "thickness": 12,
            "color": [layers[layer] for layer, _, _ in flow.nodes],
            "line": {"width": 0},
            "hovertemplate": "%{label}<extra></extra>",
        },
        link={
            "source": [link[0] for link in flow.links],
            "target": [link[1] for link in flow.links],
            "value": [link[2] for link in flow.links],
            "color": "var(--link)",
            "hovertemplate": "%{source.label} → %{target.label}: %{value:,}<extra></extra>",
        },
        textfont={"color": "var(--ink)", "size": 12},
    )
    figure.update_layout(hovermode="closest")
    return figure


def reached(table: pd.DataFrame) -> go.Figure:
    """For each channel the part of its sessions that came at least to each stage."""
    figure = base("reached")
    whole = table["visit"].where(table["visit"] > 0)
    for at, (stage, title) in enumerate(list(STAGES.items())[1:]):
        parts = (100 * table[stage] / whole).fillna(0)
        figure.add_bar(
            x=[label(name) for name in table.index],
            y=parts.tolist(),
            name=title,
            marker={"color": COLOURS[at % len(COLOURS)]},
            customdata=table[stage].tolist(),
            hovertemplate="%{y:.1f}% (%{customdata:,})",
        )
    figure.update_layout(barmode="group")
    figure.update_xaxes(type="category", title_text="Channel")
    figure.update_yaxes(title_text="Sessions that came so far, %")
    return figure


def levels(frame: pd.DataFrame) -> go.Figure:
    """Units left to sell and units promised, by product."""
    figure = base("levels")
    names = [cut(name) for name in frame["product_name"]]
    for column, title, colour in (("available", "Available", "var(--c1)"), ("reserved", "Reserved", "var(--c2)")):
        figure.add_bar(
            y=names,
            x=frame[column].tolist(),
            name=title,
            orientation="h",
            marker={"color": colour},
            hovertemplate="%{x:,}",
        )
    figure.update_layout(barmode="relative", hovermode="y unified")
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title_text="Units", showgrid=True)
    return figure


def cut(text: str) -> str:
    """A name short enough for an axis."""
    return text if len(text) <= NAME_LETTERS_MAX else text[: NAME_LETTERS_MAX - 1] + "…"

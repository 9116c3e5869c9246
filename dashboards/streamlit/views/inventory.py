"""Stock: what is oversold, gone or going, most urgent first, and how long the rest lasts."""

from __future__ import annotations

import streamlit as st

from board import figures, reads, text
from board.chart import chart
from board.frame import Scene, facts, live, panel

STATUSES = {"oversold": "Oversold", "out_of_stock": "Out of stock", "low": "Low", "in_stock": "In stock"}
CHARTED_MAX = 15


def draw(scene: Scene) -> None:
    """The page."""
    by_status = reads.stock_by_status(scene.store).set_index("status")
    number = {status: int(by_status["products"].get(status, 0)) for status in STATUSES}
    oversold = int(by_status["oversold_units"].sum()) if len(by_status) else 0
    facts(
        "stock",
        [
            ("Oversold", text.count(number["oversold"]), f"{oversold:,} units promised too many"),
            ("Out of stock", text.count(number["out_of_stock"]), "nothing left to sell"),
            ("Low", text.count(number["low"]), "at or below the reorder point"),
            ("In stock", text.count(number["in_stock"]), "above the reorder point"),
        ],
    )
    find, pick = st.columns([2, 3], vertical_alignment="bottom")
    search = find.text_input("Search", key="q", bind="query-params", placeholder="name, id or category")
    status = pick.pills("State", list(STATUSES), key="status", bind="query-params", format_func=STATUSES.get)
    stock = reads.stock(scene.store, search or "", status)
    sold = stock["units_sold"].astype(float)
    stock["hours"] = (stock["available"].clip(lower=0) / sold.where(sold > 0)).round(1)

    left, right = st.columns(2)
    with left, panel("levels", "Available and reserved", "most urgent first", scene.fresh("stock_levels")):
        top = stock.head(CHARTED_MAX)
        chart(
            "levels",
            figures.levels(top) if len(top) else None,
            "Units available and reserved by product",
            420,
            "No product matches",
        )
    with (
        right,
        panel(
            "cover",
            "Hours of cover",
            "products that sell out first, at the speed of the last hour",
            scene.fresh("stock_cover"),
        ),
    ):
        soon = stock[(stock["hours"] > 0)].sort_values("hours").head(CHARTED_MAX)
        figure = figures.bars(
            "cover",
            soon["product_name"].tolist(),
            soon["hours"].tolist(),
            "Hours the stock lasts",
            "var(--c3)",
            "%{x:,.1f} h",
        )
        chart(
            "cover", figure if len(soon) else None, "Hours of cover by product", 420, "Nothing that matches sold lately"
        )
    note = "most urgent first" + (f"; the first {len(stock):,}" if len(stock) >= reads.STOCK_ROWS_MAX else "")
    with panel("stock", "Products", note, scene.fresh("stock_levels")):
        table = stock.assign(status=stock["status"].map(lambda name: STATUSES.get(name, text.label(name))))
        st.dataframe(
            table,
            key="stock",
            hide_index=True,
            height=420,
            placeholder=text.NONE,
            column_order="status product_name category available reserved on_hand reorder_point units_sold hours "
            "last_change product_id".split(),
            column_config={
                "status": "State",
                "product_name": "Product",
                "category": "Category",
                "available": "Available",
                "reserved": "Reserved",
                "on_hand": "On hand",
                "reorder_point": "Reorder at",
                "units_sold": st.column_config.NumberColumn("Sold, units/h"),
                "hours": st.column_config.NumberColumn("Cover, h", format="%.1f"),
                "last_change": st.column_config.DatetimeColumn("Last change, UTC", format="HH:mm:ss", timezone="UTC"),
                "product_id": "Id",
            },
        )


live("Inventory", draw)

"""Numbers, money, times and names as people read them."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pandas as pd

SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
# Digits after the point, where they are not two (ISO 4217).
DIGITS = dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split(), 0) | dict.fromkeys(
    "BHD IQD JOD KWD LYD OMR TND".split(), 3
)
# Amounts from here on (major units) are shown without their minor units.
WHOLE_FROM = 10_000
NONE = "–"


def missing(value: object) -> bool:
    """Whether there is no value, in any of the ways a data frame says so."""
    return value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def major(minor: float, currency: str) -> float:
    """Minor units as major ones: 1999 EUR cents are 19.99."""
    return minor / 10 ** DIGITS.get(currency, 2)


def money(minor: float | None, currency: str) -> str:
    """`€19.99`, `€19,990`, `CHF 5.00`."""
    if missing(minor):
        return NONE
    value = major(minor, currency)
    digits = 0 if abs(value) >= WHOLE_FROM else DIGITS.get(currency, 2)
    symbol = SYMBOLS.get(currency, f"{currency} " if currency else "")
    return f"{'-' if value < 0 else ''}{symbol}{abs(value):,.{digits}f}"


def count(value: float | None) -> str:
    """`1,948`."""
    return NONE if missing(value) else f"{value:,.0f}"


def share(value: float | None) -> str:
    """`2.5%` of 0.025."""
    return NONE if missing(value) else f"{value * 100:.1f}%"


def clock(time: datetime | None) -> str:
    """`12:03:00`, in UTC."""
    return NONE if missing(time) else time.strftime("%H:%M:%S")


def length(seconds: float | None) -> str:
    """`0.4 s`, `42 s`, `5 min`, `3 h`, `2 d`."""
    if missing(seconds):
        return NONE
    seconds = max(seconds, 0.0)
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (2 * 86_400, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}" if unit == "s" and seconds < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def ago(time: datetime | None, now: datetime) -> str:
    """`2.0 s ago`."""
    return "never" if missing(time) else f"{length((now - time) / timedelta(seconds=1))} ago"


def label(name: object) -> str:
    """`card_testing` → `Card testing`."""
    words = "" if missing(name) else str(name).replace("_", " ")
    return words[:1].upper() + words[1:]

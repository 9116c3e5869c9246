"""Every page by Streamlit's own test runner: numbers, filters, and what is said when the store is empty or away."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import shop
from streamlit.testing.v1 import AppTest

from board import reads

APP = Path(__file__).parents[1] / "app.py"
PAGES = ("overview", "sessions", "fraud", "inventory", "health")
SECONDS_MAX = 60


def start(page: str, **query: str) -> AppTest:
    """Opens a page with these parameters in its address."""
    test = AppTest.from_file(str(APP), default_timeout=SECONDS_MAX)
    for name, value in query.items():
        test.query_params[name] = value
    test.run()
    return test if page == "overview" else test.switch_page(f"views/{page}.py").run()


def said(test: AppTest) -> str:
    """All text of the page."""
    kinds = [test.get("html"), test.markdown, test.warning, test.code, test.caption, test.title]
    return "\n".join(
        str(getattr(one, "value", None) or getattr(one.proto, "body", "")) for kind in kinds for one in kind
    )


@pytest.fixture
def filled_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small shop in a file that the environment names."""
    path = tmp_path / "millrace.db"
    shop.write_sqlite(path, shop.rows())
    monkeypatch.setenv("MILLRACE_STORE_URL", f"sqlite://{path}")
    return path


@pytest.mark.parametrize(
    ("page", "texts"),
    [
        (
            "overview",
            ["€1,234.56", "Revenue, last 5 min", "8.0%", "10.0%", "all stores", "window until 12:03:00, provisional"],
        ),
        ("sessions", ["Sessions closed", "<b>3</b>", "33.3%", "worth €25.00"]),
        ("fraud", ["High attacks", "card…44b2", '"payment_ids"', "payment attempts"]),
        ("inventory", ["4 units promised too many", "Out of stock"]),
        ("health", ["On time", "u-*******89", "Unread records"]),
    ],
)
def test_pages_show_the_numbers_of_the_store(filled_file: Path, page: str, texts: list[str]) -> None:
    test = start(page)
    assert not test.exception, test.exception
    words = said(test)
    for text in texts:
        assert text in words, f"{text!r} is not in {words}"
    assert "card_7f3e9a1c44b2" not in words and "203.0.113.77" not in words, "personal data is masked"


def test_the_address_holds_what_is_chosen(filled_file: Path) -> None:
    test = start("overview", range="15m", every="10s", pause="true")
    assert "last 15 minutes" in said(test) and "paused" in said(test)
    test = start("overview", store="main")
    assert "store main" in said(test)


def test_search_and_filters(filled_file: Path) -> None:
    test = start("inventory")
    test.text_input(key="q").set_value("rush").run()
    assert [len(table.value) for table in test.dataframe] == [1]
    test = start("fraud")
    test.text_input(key="find").set_value("nobody").run()
    assert "No attack matches" in said(test)
    test = start("health")
    test.selectbox(key="code").set_value("not_json").run()
    assert not test.exception


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_store_is_said_and_filled_by_itself(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_DATA_DIR", str(tmp_path))
    test = start(page)
    assert not test.exception and "Nothing is running here" in said(test) and "millrace up" in said(test)
    (tmp_path / "millrace.db").touch()
    assert "is empty" in said(test.run())
    shop.write_sqlite(tmp_path / "millrace.db", {})
    assert "no event has come yet" in said(test.run())
    shop.write_sqlite(tmp_path / "millrace.db", shop.rows())
    time.sleep(reads.SHARED_SECONDS + 0.1)
    test.run()
    assert not test.exception and not test.warning and "live" in said(test)


@pytest.mark.parametrize("page", PAGES)
def test_a_shop_a_second_old_has_no_empty_corners(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = shop.rows()
    shop.write_sqlite(
        tmp_path / "millrace.db",
        {
            "vitals": everything["vitals"][:1],
            "store_metrics": everything["store_metrics"][:5],
            "sink_offsets": everything["sink_offsets"],
            "job_progress": everything["job_progress"],
        },
    )
    monkeypatch.setenv("MILLRACE_STORE_URL", f"sqlite://{tmp_path}/millrace.db")
    test = start(page)
    assert not test.exception and not test.warning, test.exception


def test_a_store_nobody_writes_to_is_shown_as_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = datetime.now(UTC) - timedelta(minutes=10)
    shop.write_sqlite(tmp_path / "millrace.db", shop.rows(written=long_ago))
    monkeypatch.setenv("MILLRACE_STORE_URL", f"sqlite://{tmp_path}/millrace.db")
    words = said(start("overview"))
    assert "stale: Millrace has written nothing for 10 min" in words and "€1,234.56" in words


def test_wrong_urls_hide_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_STORE_URL", "postgres://u:s3cret@127.0.0.1:1/d")
    words = said(start("overview"))
    assert "cannot be read" in words and "s3cret" not in words

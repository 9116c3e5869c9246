"""Plotly charts that do not flicker.

`st.plotly_chart` names its element by a hash of the figure, with a key too, so each refresh throws the chart away and makes
another: it flickers, and zoom is lost. Here the figure goes as data to a component that stays (`chart.js`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import plotly
import plotly.graph_objects as go
import streamlit as st

FOLDER = Path(__file__).parent
# Streamlit serves what is in `static/` beside the app, once; a component's own text would come with every page.
LIBRARY = FOLDER.parent / "static" / f"plotly-{plotly.__version__}.min.js"

CSS = """
.millrace-chart { position: relative; width: 100%; overflow: auto hidden; }
.millrace-chart .plot { height: 100%; }
.millrace-chart .none { position: absolute; inset: 0; display: grid; place-items: center; text-align: center;
  padding: 0 1rem; opacity: 0.75; pointer-events: none; }
.millrace-chart .modebar { opacity: 0; transition: opacity 0.2s; }
.millrace-chart:hover .modebar, .millrace-chart:focus-within .modebar { opacity: 1; }
"""


@st.cache_resource(show_spinner=False)
def _library() -> str:
    """Puts the library that comes with the package where Streamlit serves it; gives its address."""
    if not LIBRARY.exists():
        LIBRARY.parent.mkdir(exist_ok=True)
        part = LIBRARY.with_suffix(".part")
        shutil.copyfile(Path(plotly.__file__).parent / "package_data" / "plotly.min.js", part)
        part.replace(LIBRARY)
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"{'/' + base if base else ''}/app/static/{LIBRARY.name}"


_mount = st.components.v2.component(
    "millrace_chart",
    html='<div class="millrace-chart"><div class="plot"></div><div class="none"></div></div>',
    css=CSS,
    js=(FOLDER / "chart.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def chart(
    key: str, figure: go.Figure | None, alt: str, height: int = 300, empty: str = "Nothing yet", width_min: int = 0
) -> None:
    """Draws a figure; without one, the words. `alt` is what a screen reader says, `height` is in pixels. On a
    screen narrower than `width_min` pixels it scrolls sideways."""
    text = None if figure is None else figure.to_json()
    data = {"figure": text, "empty": empty, "height": height, "alt": alt, "library": _library(), "width_min": width_min}
    _mount(key=key, data=data, height=height)

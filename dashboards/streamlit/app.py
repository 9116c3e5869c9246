"""A shop by Millrace in Streamlit: the way between the pages. Run it with `streamlit run app.py`."""

import streamlit as st

from board import frame

st.set_page_config(page_title="Millrace", page_icon=":material/water_drop:", layout="wide")

page = st.navigation(
    [
        st.Page("views/overview.py", title="Overview", icon=":material/monitoring:", default=True),
        st.Page("views/sessions.py", title="Sessions", icon=":material/route:"),
        st.Page("views/fraud.py", title="Fraud", icon=":material/gpp_maybe:"),
        st.Page("views/inventory.py", title="Inventory", icon=":material/inventory_2:"),
        st.Page("views/health.py", title="Health", icon=":material/ecg_heart:"),
    ]
)
frame.controls()
page.run()

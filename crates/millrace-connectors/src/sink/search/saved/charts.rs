//! What is shown: the charts an operator or a merchant looks at first, in the order of the dashboard.
//!
//! Sums are of tables whose windows do not overlap; of sliding ones (`store_metrics`, `category_metrics`) a sum would count
//! everything several times, so they are averaged. Money is in minor units, and never added over currencies.

/// A chart of one table.
pub(super) struct Chart {
    /// What its id is made of: it stays when the title changes.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) about: &'static str,
    pub(super) table: &'static str,
    pub(super) form: Form,
    /// The first of them orders what is divided.
    pub(super) measures: &'static [Measure],
    pub(super) along: Option<Along>,
    pub(super) split: Option<Split>,
}

/// How it is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Line,
    Columns,
    Bars,
    Numbers,
    Table,
}

impl Form {
    /// Rows of the dashboard's grid.
    pub(super) fn height(self) -> u32 {
        if self == Form::Numbers { 7 } else { 14 }
    }
}

pub(super) struct Measure {
    pub(super) of: Of,
    pub(super) label: &'static str,
}

/// What is measured, and of which field.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Documents,
    Sum(&'static str),
    Average(&'static str),
    Least(&'static str),
    Greatest(&'static str),
}

/// What lies along the axis, or in the rows.
#[derive(Clone, Copy)]
pub(super) enum Along {
    /// The table's time, by minute; Dashboards widens it where there would be too many.
    Minutes,
    /// Values of a field with the greatest first measure.
    Greatest(&'static str),
    /// Values of a field with the least.
    Least(&'static str),
}

/// Of which field each value is a series, or a row of a table.
#[derive(Clone, Copy)]
pub(super) enum Split {
    /// What lacks it is a series too, so that nothing is missing from the sum.
    By(&'static str),
    /// What lacks it does not count: there is no money without a currency.
    Known(&'static str),
}

const fn measure(of: Of, label: &'static str) -> Measure {
    Measure { of, label }
}

pub(super) const CHARTS: &[Chart] = &[
    Chart {
        name: "shop_totals",
        title: "The shop in numbers",
        about: "All that happened in the time shown",
        table: "vitals",
        form: Form::Numbers,
        measures: &[
            measure(Of::Sum("orders"), "Orders"),
            measure(Of::Sum("cart_adds"), "Put into carts"),
            measure(Of::Sum("page_views"), "Page views"),
            measure(Of::Sum("payments_declined"), "Payments declined"),
        ],
        along: None,
        split: None,
    },
    Chart {
        name: "revenue_total",
        title: "Revenue",
        about: "Orders placed in the time shown, by currency, in minor units (cents)",
        table: "vitals",
        form: Form::Numbers,
        measures: &[measure(Of::Sum("gross_minor"), "Revenue, minor units")],
        along: None,
        split: Some(Split::Known("currency")),
    },
    Chart {
        name: "revenue_by_minute",
        title: "Revenue by minute",
        about: "Orders placed, by currency, in minor units (cents)",
        table: "vitals",
        form: Form::Line,
        measures: &[measure(Of::Sum("gross_minor"), "Revenue, minor units")],
        along: Some(Along::Minutes),
        split: Some(Split::Known("currency")),
    },
    Chart {
        name: "orders_by_minute",
        title: "Orders and declined payments by minute",
        about: "Many declined payments beside few orders: a payment provider in trouble, or somebody who tries cards",
        table: "vitals",
        form: Form::Columns,
        measures: &[measure(Of::Sum("orders"), "Orders"), measure(Of::Sum("payments_declined"), "Payments declined")],
        along: Some(Along::Minutes),
        split: None,
    },
    Chart {
        name: "visitors_by_store",
        title: "Visitors within five minutes, by store",
        about: "Windows of five minutes, a new one each minute; where a point is of several of them, their average",
        table: "store_metrics",
        form: Form::Line,
        measures: &[measure(Of::Average("visitors"), "Visitors within five minutes")],
        along: Some(Along::Minutes),
        split: Some(Split::By("store_id")),
    },
    Chart {
        name: "category_revenue",
        title: "Revenue of categories within five minutes",
        about: "Average of the windows of five minutes in the time shown, in minor units (cents)",
        table: "category_metrics",
        form: Form::Bars,
        measures: &[measure(Of::Average("gross_minor"), "Revenue within five minutes, minor units")],
        along: Some(Along::Greatest("category")),
        split: None,
    },
    Chart {
        name: "sessions_by_stage",
        title: "How far sessions came",
        about: "Sessions that ended in the time shown, by the stage they reached and the channel they came by",
        table: "sessions",
        form: Form::Columns,
        measures: &[measure(Of::Documents, "Sessions")],
        along: Some(Along::Greatest("stage")),
        split: Some(Split::By("channel")),
    },
    Chart {
        name: "abandoned_by_reason",
        title: "Abandoned carts by reason",
        about: "Carts left behind by sessions that ended in the time shown, by the furthest obstacle they met",
        table: "abandoned_carts",
        form: Form::Bars,
        measures: &[measure(Of::Documents, "Carts")],
        along: Some(Along::Greatest("reason")),
        split: Some(Split::By("channel")),
    },
    Chart {
        name: "fraud_by_rule",
        title: "Fraud signals by rule",
        about: "By when they were last seen, and how severe they are",
        table: "fraud_signals",
        form: Form::Bars,
        measures: &[measure(Of::Documents, "Signals")],
        along: Some(Along::Greatest("rule")),
        split: Some(Split::By("severity")),
    },
    Chart {
        name: "fraud_by_decision",
        title: "Payments and refunds held or blocked",
        about: "What the scorer sent to review, and what it blocked",
        table: "fraud_alerts",
        form: Form::Columns,
        measures: &[measure(Of::Documents, "Payments and refunds")],
        along: Some(Along::Minutes),
        split: Some(Split::By("decision")),
    },
    Chart {
        name: "stock_cover",
        title: "Stock that runs out soonest",
        about: "Hours the available stock lasts at the speed of the last hour: the least of the time shown",
        table: "stock_cover",
        form: Form::Table,
        measures: &[
            measure(Of::Least("hours_of_cover"), "Hours of cover"),
            measure(Of::Greatest("units_sold"), "Units sold within an hour"),
        ],
        along: Some(Along::Least("product_id")),
        split: None,
    },
    Chart {
        name: "stock_levels",
        title: "Least stock now",
        about: "Whatever the time shown: units that are neither sold nor promised, beside the level to order at",
        table: "stock_levels",
        form: Form::Table,
        measures: &[measure(Of::Least("available"), "Available"), measure(Of::Greatest("reorder_point"), "Reorder at")],
        along: Some(Along::Least("product_id")),
        split: Some(Split::By("status")),
    },
    Chart {
        name: "records_by_stream",
        title: "Records counted by stream",
        about: "A stream that stops is a shop, or a connection, that stopped",
        table: "ledger",
        form: Form::Line,
        measures: &[measure(Of::Sum("records"), "Records")],
        along: Some(Along::Minutes),
        split: Some(Split::By("stream")),
    },
];

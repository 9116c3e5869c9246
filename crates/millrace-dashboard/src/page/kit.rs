//! The pieces every page is built from: numbers, times, marks, panels, charts with their tables.
//!
//! Values carry what they are in attributes (`<data value unit currency>`, `<time datetime>`); the server writes a plain
//! form that reads well without JavaScript, the browser replaces it with the viewer's language and time zone.

use maud::{Markup, html};
use millrace_model::Timestamp;
use millrace_model::money::format_minor;
use serde_json::Value;

use super::Sections;
use crate::params::Params;
use crate::view::Unit;

/// A number with its unit; a dash when there is none.
pub(super) fn num(value: Option<f64>, unit: &Unit) -> Markup {
    let Some(value) = value else { return html! { span.none title="no data yet" { "–" } } };
    let (name, currency, digits) = match unit {
        // Two digits are what a browser assumes.
        Unit::Money { currency, digits } => ("money", Some(currency), Some(*digits).filter(|digits| *digits != 2)),
        Unit::Share => ("share", None, None),
        Unit::Count | Unit::Text | Unit::Time => ("count", None, None),
    };
    html! { data value=(value) data-unit=(name) data-currency=[currency] data-digits=[digits] { (plain(value, unit)) } }
}

/// An amount of money.
pub(super) fn money(minor: i64, currency: &str) -> Markup {
    num(Some(minor as f64), &Unit::money(currency))
}

/// A number of things.
pub(super) fn count(count: i64) -> Markup {
    num(Some(count as f64), &Unit::Count)
}

/// A part of one, as a percentage.
pub(super) fn share(share: Option<f64>) -> Markup {
    num(share, &Unit::Share)
}

/// A number as plain text.
fn plain(value: f64, unit: &Unit) -> String {
    match unit {
        Unit::Money { currency, .. } if currency.is_empty() => grouped(value as i64 / 100),
        Unit::Money { currency, .. } => format_minor(value.round() as i64, currency),
        Unit::Share => format!("{:.1}%", value * 100.0),
        Unit::Count | Unit::Text | Unit::Time => grouped(value.round() as i64),
    }
}

/// `1234567` → `1,234,567`.
pub(super) fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of these: `1 attack`, `1,234 attacks`.
pub(super) fn things(number: usize, name: &str) -> String {
    format!("{} {name}{}", grouped(number as i64), if number == 1 { "" } else { "s" })
}

/// How a time is shown.
#[derive(Clone, Copy)]
pub(super) enum When {
    /// Hours, minutes and seconds, with the date when it is not today.
    Clock,
    /// Hours and minutes.
    Minute,
    /// "12 s ago", kept up to date.
    Ago,
}

/// A point in time: UTC here, the viewer's zone in the browser.
pub(super) fn when(time: Option<Timestamp>, when: When) -> Markup {
    let Some(time) = time else { return html! { span.none { "–" } } };
    let text = time.to_string();
    let (style, shown) = match when {
        When::Clock => ("clock", &text[11..19]),
        When::Minute => ("minute", &text[11..16]),
        When::Ago => ("ago", &text[11..19]),
    };
    html! { time datetime=(text) data-when=(style) { (shown) " UTC" } }
}

/// A length of time in its largest fitting units: `95` → `1 min 35 s`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as i64;
    match whole {
        _ if seconds < 0.0 => format!("−{}", duration(-seconds)),
        _ if seconds < 10.0 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", grouped(whole / 86_400), whole % 86_400 / 3_600),
    }
}

/// A change to the period before: an arrow and a percentage, in words for who does not see the arrow.
pub(super) fn delta(change: Option<f64>, up_is_good: Option<bool>, against: &str) -> Markup {
    let Some(change) = change else { return html! {} };
    let flat = change.abs() < 0.0005;
    let up = change > 0.0;
    let mood = match up_is_good {
        Some(good) if !flat && good == up => "good",
        Some(_) if !flat => "bad",
        _ => "even",
    };
    let percent =
        if change.abs() < 10.0 { format!("{:.1}%", change.abs() * 100.0) } else { "more than 10×".to_owned() };
    let (arrow, word) = match (flat, up) {
        (true, _) => ("→", "unchanged,"),
        (false, true) => ("↑", "up"),
        (false, false) => ("↓", "down"),
    };
    html! {
        span.delta.(mood) {
            span aria-hidden="true" { (arrow) }
            span.vh { (word) " " } (percent)
            span.against { " vs " (against) }
        }
    }
}

/// `provisional` (its window is open) or `final`.
pub(super) fn state(state: &str) -> Markup {
    let why = if state == "final" {
        "final: the watermark has passed the end of this window"
    } else {
        "provisional: this window is still open and will be corrected as records arrive"
    };
    html! { span.state data-state=(state) title=(why) { (state) } }
}

/// When the tables behind a tile last changed; the browser keeps it up to date.
pub(super) fn fresh(tables: &str) -> Markup {
    if tables.is_empty() {
        return html! {};
    }
    html! { span.fresh data-fresh=(tables) title="time since the last change of the data behind this" {} }
}

/// A coloured word; the colour only repeats what the word says.
pub(super) fn pill(kind: &str, label: &str) -> Markup {
    html! { span.pill data-kind=(kind) { (label) } }
}

/// What a part says while it has nothing to show.
pub(super) fn empty(what: &str, why: &str) -> Markup {
    html! { div.empty { strong { (what) } p { (why) } } }
}

/// A titled part of a page.
pub(super) struct Panel<'a> {
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// Under the title: what is counted.
    pub(super) note: Markup,
    /// At the right: links and buttons.
    pub(super) tools: Markup,
    /// Tables behind it, for its freshness.
    pub(super) tables: &'a str,
}

impl Panel<'_> {
    /// The panel around its content.
    pub(super) fn around(&self, content: Markup) -> Markup {
        let heading = format!("h-{}", self.id);
        html! {
            section.panel id=(self.id) aria-labelledby=(heading) {
                header {
                    div.titles { h2 id=(heading) { (self.title) } p.note { (self.note) } }
                    div.tools { (fresh(self.tables)) (self.tools) }
                }
                div.content { (content) }
            }
        }
    }
}

/// A container whose children are a live section.
pub(super) fn list(element: &str, class: &str, name: &str, sections: &Sections) -> Markup {
    let items = sections.html(name);
    match element {
        "ul" => html! { ul class=(class) data-section=(name) { (items) } },
        "ol" => html! { ol class=(class) data-section=(name) { (items) } },
        "tbody" => html! { tbody class=(class) data-section=(name) { (items) } },
        "span" => html! { span class=(class) data-section=(name) { (items) } },
        _ => html! { div class=(class) data-section=(name) { (items) } },
    }
}

/// A link to a table's rows as CSV.
pub(super) fn csv(table: &str) -> Markup {
    html! { a.tool href={ "/api/tables/" (table) ".csv" } download title={ "Download " (table) " as CSV" } { "CSV" } }
}

/// Buttons of a chart: its table, its picture.
pub(super) fn chart_tools(name: &str, png: bool) -> Markup {
    html! {
        button.tool.js type="button" data-twin-of=(name) aria-pressed="false" { "Table" }
        @if png { button.tool.js type="button" data-png-of=(name) { "PNG" } }
    }
}

/// A chart, drawn by the browser from the series of this name, and its table twin, which is all there is without.
pub(super) fn chart(name: &str, label: &str, class: &str, sections: &Sections) -> Markup {
    html! {
        figure class={ "chart " (class) } data-chart=(name) {
            div.plot.js role="img" tabindex="0" aria-label=(label) data-label=(label) data-empty=(nothing_yet(name)) {}
            p.vh data-spoken aria-live="polite" {}
            div.twin data-owned tabindex="0" role="region" aria-label={ (label) ", as a table" } { (twin(name, label, sections)) }
        }
    }
}

/// What a chart says while it has nothing to draw.
fn nothing_yet(chart: &str) -> &'static str {
    match chart {
        "flow" => "waiting for the first closed session…",
        "signals_over_time" => "no signals in this time",
        _ => "waiting for the first window…",
    }
}

fn twin(name: &str, label: &str, sections: &Sections) -> Markup {
    let Some(section) = sections.0.iter().find(|section| section.name == name) else { return html! {} };
    let columns: Vec<&Value> = section.columns.iter().flat_map(|columns| columns.as_array()).flatten().collect();
    html! {
        table {
            caption.vh { (label) }
            thead { tr { @for column in &columns { th scope="col" { (text(&column["label"])) } } } }
            tbody {
                @for (_, row) in section.items.iter().rev() {
                    tr { @for (at, column) in columns.iter().enumerate() { td { (cell(&row[at], column)) } } }
                }
            }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn cell(value: &Value, column: &Value) -> Markup {
    match text(&column["unit"]) {
        "time" => when(Timestamp::parse(text(value).as_bytes()), When::Clock),
        "money" => num(value.as_f64(), &Unit::money(text(&column["currency"]))),
        "share" => num(value.as_f64(), &Unit::Share),
        "count" => num(value.as_f64(), &Unit::Count),
        _ => html! { (text(value)) },
    }
}

/// One of several views of the same list, as links that work without JavaScript.
pub(super) struct Choice<'a> {
    pub(super) path: &'a str,
    pub(super) params: &'a Params,
    pub(super) name: &'a str,
    pub(super) label: &'a str,
}

impl Choice<'_> {
    /// Links for the options (value, label, number); the first, without a value, is "all".
    pub(super) fn links(&self, options: &[(Option<&str>, &str, Option<usize>)]) -> Markup {
        let chosen = self.params.get(self.name);
        html! {
            nav.choice aria-label=(self.label) {
                @for (value, label, number) in options {
                    @let link = self.params.with(self.name, *value).query(self.path);
                    a href=(link) data-swap aria-current=[(chosen == *value).then_some("true")] {
                        (label) @if let Some(number) = number { " " span.number { (grouped(*number as i64)) } }
                    }
                }
            }
        }
    }
}

/// A search field; without JavaScript it is sent by Enter.
pub(super) fn search(path: &str, params: &Params, label: &str, keep: &[&str]) -> Markup {
    html! {
        form.search role="search" action=(path) method="get" data-swap {
            @for name in keep {
                @if let Some(value) = params.get(name) { input type="hidden" name=(name) value=(value); }
            }
            label.vh for="q" { (label) }
            input id="q" type="search" name="q" value=[params.get("q")] placeholder=(label) autocomplete="off";
        }
    }
}

/// Who acts here, for the record; kept in the browser.
pub(super) fn who() -> Markup {
    html! {
        label.who { "Your name" input id="who" data-owned type="text" maxlength="64" placeholder="page" autocomplete="nickname"; }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (seconds, text) in [
            (0.42, "0.4 s"),
            (12.4, "12 s"),
            (95.0, "1 min 35 s"),
            (7_260.0, "2 h 1 min"),
            (90_000.0, "1 d 1 h"),
            (-3.0, "−3.0 s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn numbers_in_plain_text() {
        let euro = Unit::money("EUR");
        assert_eq!(
            num(Some(123_456.0), &euro).into_string(),
            r#"<data value="123456" data-unit="money" data-currency="EUR">1,234.56 EUR</data>"#
        );
        assert_eq!(
            num(Some(0.0345), &Unit::Share).into_string(),
            r#"<data value="0.0345" data-unit="share">3.5%</data>"#
        );
        assert!(num(None, &Unit::Count).into_string().contains("–"));
        assert_eq!(grouped(-1_234_567), "-1,234,567");
        assert_eq!((things(1, "attack"), things(1_200, "attack")), ("1 attack".into(), "1,200 attacks".into()));
    }

    #[test]
    fn changes_in_words() {
        assert!(delta(Some(0.042), Some(true), "before").into_string().contains("delta good"));
        assert!(delta(Some(0.042), Some(false), "before").into_string().contains("delta bad"));
        assert!(delta(Some(0.0), Some(true), "before").into_string().contains("unchanged"));
        assert_eq!(delta(None, Some(true), "before").into_string(), "");
    }
}

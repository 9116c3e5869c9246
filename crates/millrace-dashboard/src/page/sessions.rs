//! The sessions page: the way of one, the ways of many, and carts left behind.

use maud::{Markup, html};
use serde_json::json;

use super::kit::{
    Choice, Panel, When, chart, chart_tools, count, csv, duration, empty, grouped, list, money, pill, share, when,
};
use super::layout::Body;
use super::{Sections, journey, shapes};
use crate::params::Params;
use crate::section::Section;
use crate::view::sessions::{
    Cart, CartReason, ChannelFunnel, Flow, STAGES, Session, Sessions as View, SessionsParams, stage_label,
};
use crate::view::{Series, Unit};

/// Sessions and carts listed.
const LISTED_MAX: usize = 60;
/// Products named in a cart.
const PRODUCTS_MAX: usize = 4;

/// Reads the query.
pub(crate) fn params(params: &Params, limit: usize) -> SessionsParams {
    SessionsParams { stage: params.owned("stage"), session: params.owned("session"), limit: limit.min(LISTED_MAX) }
}

/// The live sections.
pub(super) fn sections(view: &View, params: &Params) -> Vec<Section> {
    let shown = view.journey.as_ref().map(|journey| journey.session.id.as_str());
    let most = view.reasons.first().map_or(1, |reason| reason.carts);
    vec![
        Section::one("stages", stages(view, params)),
        Section::one("journey", journey_card(view)),
        Section::html("sessions", view.sessions.iter().map(|s| (s.id.clone(), line(s, shown, params)))),
        Section::series("flow", &flow(&view.flow)),
        Section::html("channels", view.channels.iter().map(|c| (c.channel.clone(), channel(c, &view.currency)))),
        Section::html("reasons", view.reasons.iter().map(|r| (r.reason.clone(), reason(r, most, &view.currency)))),
        Section::html("carts", view.carts.iter().map(|c| (c.id.clone(), cart(c, params)))),
    ]
}

/// The page around them.
pub(super) fn body(sections: &Sections) -> Body {
    let content = html! {
        div.columns {
            div.stack { (journey_panel(sections)) (flow_panel(sections)) (channels_panel(sections)) }
            div.stack { (recent_panel(sections)) (carts_panel(sections)) }
        }
    };
    Body { controls: html! {}, content }
}

fn journey_panel(sections: &Sections) -> Markup {
    let note = html! { "the way of one session; choose another from the list" };
    let panel = Panel { id: "journey", title: "Journey", tables: "sessions", note, tools: html! {} };
    panel.around(list("div", "", "journey", sections))
}

fn flow_panel(sections: &Sections) -> Markup {
    Panel {
        id: "flow",
        title: "Ways through the shop",
        tables: "sessions",
        note: html! { "recent sessions: source, landing page, furthest stage, end" },
        tools: chart_tools("flow", true),
    }
    .around(chart(
        "flow",
        "Sessions from source over landing page and furthest stage to their end",
        "flow",
        sections,
    ))
}

fn channels_panel(sections: &Sections) -> Markup {
    let last = STAGES.len() - 1;
    Panel {
        id: "channels",
        title: "Channels",
        tables: "session_funnel",
        note: html! { "closed sessions of the last day that came at least this far" },
        tools: csv("session_funnel"),
    }
    .around(html! {
        div.scroll tabindex="0" role="region" aria-label="Channels" {
            table.lines.heat {
                thead { tr {
                    th scope="col" { "Channel" }
                    @for (at, (_, label)) in STAGES.iter().enumerate() {
                        th.n.wide[at != 0 && at != last] scope="col" { (label) }
                    }
                    th.n scope="col" { "Revenue" }
                } }
                (list("tbody", "", "channels", sections))
            }
        }
        (empty("No closed sessions yet", "Channels appear with the first closed session."))
    })
}

fn recent_panel(sections: &Sections) -> Markup {
    Panel {
        id: "recent",
        title: "Recent sessions",
        tables: "sessions",
        note: html! { "closed by 30 minutes of silence" },
        tools: csv("sessions"),
    }
    .around(html! {
        (list("div", "filters", "stages", sections))
        div.scroll.fixed tabindex="0" role="region" aria-label="Recent sessions" {
            table.lines {
                thead { tr {
                    th scope="col" { "Visitor" } th scope="col" { "Got to" } th.n scope="col" { "Revenue" }
                    th.wide scope="col" { "From – to" } th.n scope="col" { "Ended" }
                } }
                (list("tbody", "", "sessions", sections))
            }
        }
        (empty("No closed sessions yet", "A session is closed after 30 minutes without an event of its visitor."))
    })
}

fn carts_panel(sections: &Sections) -> Markup {
    Panel {
        id: "carts",
        title: "Abandoned carts",
        tables: "abandoned_carts",
        note: html! { "not empty, not bought, no longer active" },
        tools: csv("abandoned_carts"),
    }
    .around(html! {
        (list("ul", "reasons", "reasons", sections))
        div.scroll.fixed tabindex="0" role="region" aria-label="Abandoned carts" {
            table.lines {
                thead { tr {
                    th scope="col" { "Likely reason" } th.n scope="col" { "Worth" }
                    th.wide scope="col" { "Products" } th.wide scope="col" { "Source" } th.n scope="col" { "Left" }
                } }
                (list("tbody", "", "carts", sections))
            }
        }
        (empty("No abandoned carts", "A cart is given up when its session closes without an order."))
    })
}

fn stages(view: &View, params: &Params) -> Markup {
    let mut options = vec![(None, "All", Some(view.recent))];
    for ((name, label), (_, number)) in STAGES.iter().zip(&view.by_stage) {
        options.push((Some(*name), *label, Some(*number)));
    }
    html! { div data-key="stages" { (Choice { path: "/sessions", params, name: "stage", label: "Furthest stage" }.links(&options)) } }
}

fn journey_card(view: &View) -> Markup {
    html! {
        div.journey-card data-key="journey" {
            @match &view.journey {
                None => (empty("No journey to show yet", "The first closed session appears here.")),
                Some(journey) => {
                    @let session = &journey.session;
                    p.journey-head {
                        code { (session.visitor) } " " (pill(&session.stage, stage_label(&session.stage))) " "
                        @if session.revenue_minor > 0 { strong { (money(session.revenue_minor, &session.currency)) } " " }
                        span.note { (session.channel) " · " (session.device) " · " (session.country) " · " (grouped(session.events)) " events" }
                    }
                    div.scroll { (journey::picture(journey)) }
                    details.steps-of { summary { "Steps in words" } (journey::steps(journey)) }
                },
            }
        }
    }
}

fn line(session: &Session, shown: Option<&str>, params: &Params) -> Markup {
    let link = params.with("session", Some(&session.id)).query("/sessions");
    html! {
        tr data-key=(session.id) aria-current=[(shown == Some(session.id.as_str())).then_some("true")] {
            th scope="row" {
                a href=(link) data-swap { code { (session.visitor) } }
                span.note { (session.channel) " · " (session.device) }
            }
            td { (pill(&session.stage, stage_label(&session.stage))) }
            td.n { @if session.revenue_minor > 0 { (money(session.revenue_minor, &session.currency)) } @else { span.none { "–" } } }
            td.wide.path { (session.landing_path) span.note { "→ " (session.exit_path) } }
            td.n { (when(session.last_event, When::Minute)) span.note { (duration(session.seconds as f64)) } }
        }
    }
}

/// Links as rows, each with the names and layers of its nodes: a table one can read and a picture one can draw.
fn flow(flow: &Flow) -> Series {
    let mut series = Series::new(vec![
        ("link", "Link", Unit::Text),
        ("layer", "Layer", Unit::Count),
        ("source", "From", Unit::Text),
        ("target", "To", Unit::Text),
        ("sessions", "Sessions", Unit::Count),
    ]);
    for link in &flow.links {
        let (source, target) = (&flow.nodes[link.source], &flow.nodes[link.target]);
        series.rows.push(vec![
            json!(format!("{}-{}-{}", source.layer, source.label, target.label)),
            json!(source.layer),
            json!(source.label),
            json!(target.label),
            json!(link.sessions),
        ]);
    }
    series
}

fn channel(channel: &ChannelFunnel, currency: &str) -> Markup {
    let all = channel.reached.first().copied().unwrap_or(0);
    let last = channel.reached.len() - 1;
    html! {
        tr data-key=(channel.channel) {
            th scope="row" { (channel.channel) }
            @for (at, reached) in channel.reached.iter().enumerate() {
                @let part = if all > 0 { *reached as f64 / all as f64 } else { 0.0 };
                td.n.wide[at != 0 && at != last] {
                    (count(*reached))
                    @if at > 0 { span.note { (share(Some(part))) } }
                }
            }
            td.n { @if currency.is_empty() { span.none title="stores have different currencies" { "–" } } @else { (money(channel.revenue_minor, currency)) } }
        }
    }
}

fn reason(reason: &CartReason, most: usize, currency: &str) -> Markup {
    html! {
        li data-key=(reason.reason) {
            span.label { (reason.reason) }
            span.count { (count(reason.carts as i64)) }
            (shapes::bar(reason.carts as f64 / most.max(1) as f64, "reason"))
            span.of { @if !currency.is_empty() { (money(reason.cart_minor, currency)) " left behind" } }
        }
    }
}

fn cart(cart: &Cart, params: &Params) -> Markup {
    let link = params.with("session", Some(&cart.id)).query("/sessions");
    let products = cart.products.iter().take(PRODUCTS_MAX).cloned().collect::<Vec<_>>().join(", ");
    html! {
        tr data-key=(cart.id) {
            th scope="row" { a href=(link) data-swap { (cart.reason) } span.note { code { (cart.visitor) } } }
            td.n { (money(cart.cart_minor, &cart.currency)) }
            td.wide.path { (products) @if cart.products.len() > PRODUCTS_MAX { " …" } }
            td.wide { (cart.channel) }
            td.n { (when(cart.last_event, When::Minute)) }
        }
    }
}

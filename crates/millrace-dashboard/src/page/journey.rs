//! The way of one session as a picture: time from left to right, how far it went from bottom to top.
//!
//! ```text
//! Order     ┆                          ●
//! Payment   ┆                       ●──┘
//! Checkout  ┆                    ●──┘
//! Cart      ┆          ●──┐   ●──┘
//! Product   ┆    ●──●──┘  ●───┘
//! Browse    ┆ ●──┘
//! ```

use std::fmt::Write;

use maud::{Markup, html};

use super::kit::{When, duration, when};
use crate::view::sessions::{Journey, Step};

/// Lanes from the bottom up.
const LANES: [&str; 6] = ["Browse", "Product", "Cart", "Checkout", "Payment", "Order"];

/// A size of the picture: letters keep theirs, so that a phone needs another picture, not a smaller one.
struct Frame {
    class: &'static str,
    left: f64,
    width: f64,
    ticks: u8,
}

const DESKTOP: Frame = Frame { class: "journey wide", left: 78.0, width: 720.0, ticks: 4 };
const PHONE: Frame = Frame { class: "journey narrow", left: 66.0, width: 344.0, ticks: 2 };
const LANE_HEIGHT: f64 = 30.0;
const HEIGHT: f64 = LANE_HEIGHT * LANES.len() as f64 + 24.0;

fn lane(event_type: &str) -> usize {
    match event_type {
        "product_clicked" | "product_viewed" => 1,
        "product_added" | "product_removed" | "cart_viewed" => 2,
        "checkout_started" => 3,
        "payment_info_entered" | "payment_declined" => 4,
        "order_placed" => 5,
        _ => 0,
    }
}

/// The event in words.
fn words(event_type: &str) -> String {
    let words = match event_type {
        "page_viewed" => "viewed a page",
        "products_searched" => "searched",
        "product_list_viewed" => "viewed a list",
        "product_clicked" => "clicked a product",
        "product_viewed" => "viewed a product",
        "product_added" => "put into the cart",
        "product_removed" => "took out of the cart",
        "cart_viewed" => "viewed the cart",
        "checkout_started" => "started the checkout",
        "payment_info_entered" => "entered payment details",
        "payment_declined" => "payment declined",
        "order_placed" => "placed the order",
        "signed_in" => "signed in",
        other => return other.replace('_', " "),
    };
    words.to_owned()
}

/// Seconds since the first step.
fn seconds(steps: &[Step]) -> Vec<f64> {
    let first = steps.iter().filter_map(|step| step.time).min().unwrap_or_default();
    steps.iter().map(|step| step.time.map_or(0.0, |time| (time.0 - first.0) as f64 / 1e6)).collect()
}

fn y(lane: usize) -> f64 {
    12.0 + LANE_HEIGHT * (LANES.len() - 1 - lane) as f64 + LANE_HEIGHT / 2.0
}

/// The picture, once for desktops and once for phones; the style sheet shows one.
pub(super) fn picture(journey: &Journey) -> Markup {
    html! { (drawn(journey, &DESKTOP)) (drawn(journey, &PHONE)) }
}

fn drawn(journey: &Journey, frame: &Frame) -> Markup {
    let Frame { class, left, width, ticks } = *frame;
    let steps = &journey.steps;
    let seconds = seconds(steps);
    let length = seconds.iter().copied().fold(1.0, f64::max);
    let x = |second: f64| left + 8.0 + second / length * (width - left - 24.0);
    let mut line = String::new();
    for (at, (step, second)) in steps.iter().zip(&seconds).enumerate() {
        let (x, y) = (x(*second), y(lane(&step.event_type)));
        let _ = if at == 0 { write!(line, "M{x:.1} {y:.1}") } else { write!(line, "H{x:.1}V{y:.1}") };
    }
    let label = format!("{} steps in {}, up to {}", steps.len(), duration(length), journey.session.stage);
    html! {
        svg class=(class) viewBox=(format!("0 0 {width} {HEIGHT}")) role="img" aria-label=(label) {
            @for (at, name) in LANES.iter().enumerate() {
                line.lane x1=(left) x2=(width) y1=(y(at)) y2=(y(at)) {}
                text.lane-name x="0" y=(y(at) + 4.0) { (name) }
            }
            @for part in 0..=ticks {
                @let second = length * f64::from(part) / f64::from(ticks);
                text.tick x=(format!("{:.1}", x(second))) y=(HEIGHT - 2.0)
                    text-anchor=(match part { 0 => "start", last if last == ticks => "end", _ => "middle" }) { (duration(second)) }
            }
            path.way d=(line) {}
            @for (step, second) in steps.iter().zip(&seconds) {
                circle.step data-event=(step.event_type) cx=(format!("{:.1}", x(*second)))
                    cy=(y(lane(&step.event_type))) r=(if step.event_type == "order_placed" { 6 } else { 4 }) {
                    title { (words(&step.event_type)) " " (step.product_id) " " (step.path) ", after " (duration(*second)) }
                }
            }
        }
    }
}

/// The same in words, for phones and screen readers.
pub(super) fn steps(journey: &Journey) -> Markup {
    let seconds = seconds(&journey.steps);
    html! {
        ol.steps {
            @for (step, second) in journey.steps.iter().zip(&seconds) {
                li data-event=(step.event_type) {
                    span.after { "+" (duration(*second)) }
                    span.what { (words(&step.event_type)) }
                    @if !step.product_id.is_empty() { code { (step.product_id) } }
                    @else if !step.path.is_empty() { code { (step.path) } }
                    span.vh { (when(step.time, When::Clock)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::{at, cache_of, json_rows};
    use crate::view::sessions::{SessionsParams, sessions};
    use serde_json::json;

    #[test]
    fn every_step_has_its_place() {
        let step = |second: i64, event: &str| json!({"event_time": at(second), "event_type": event, "path": "/<b>", "product_id": null});
        let row = json!({
            "visitor_id": "v", "session_start": at(0), "last_event_time": at(90), "stage": "purchase",
            "journey": [step(0, "page_viewed"), step(30, "product_viewed"), step(90, "order_placed"), step(90, "a_new_one")]
        });
        let cache = cache_of(vec![("sessions", json_rows(vec![row]))]);
        let journey = sessions(&cache, &SessionsParams { limit: 1, ..SessionsParams::default() }).journey.expect("one");
        let svg = drawn(&journey, &DESKTOP).into_string();
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(svg.contains("4 steps in 1 min 30 s, up to purchase"));
        let list = steps(&journey).into_string();
        assert!(list.contains("a new one") && list.contains("/&lt;b&gt;") && !list.contains("<b>"));
    }
}

//! Small pictures as SVG, drawn on the server: lines, bars, icons, the way of a session. No inline styles: the content
//! security policy forbids them, and colours come from the style sheet.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

/// A line of recent values. It says nothing a number beside it does not say, so it is hidden from screen readers.
pub(super) fn spark(values: &[f64]) -> Markup {
    const WIDTH: f64 = 100.0;
    const HEIGHT: f64 = 28.0;
    if values.len() < 2 {
        return html! { svg.spark viewBox="0 0 100 28" aria-hidden="true" {} };
    }
    let (low, high) =
        values.iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    let span = if high > low { high - low } else { 1.0 };
    let at = |(index, value): (usize, &f64)| {
        let x = index as f64 / (values.len() - 1) as f64 * WIDTH;
        let y = HEIGHT - 2.0 - (value - low) / span * (HEIGHT - 4.0);
        (x, y)
    };
    let mut line = String::new();
    for (index, (x, y)) in values.iter().enumerate().map(at).enumerate() {
        let _ = write!(line, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
    }
    let area = format!("{line}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z");
    html! {
        svg.spark viewBox="0 0 100 28" preserveAspectRatio="none" aria-hidden="true" {
            path.area d=(area) {} path.line d=(line) {}
        }
    }
}

/// A bar filled to `share` (0 to 1), with an optional mark.
pub(super) fn bar(share: f64, kind: &str) -> Markup {
    let width = format!("{:.1}", share.clamp(0.0, 1.0) * 100.0);
    html! {
        svg.bar data-kind=(kind) viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
            rect.track width="100" height="6" {} rect.fill width=(width) height="6" {}
        }
    }
}

/// An icon of the navigation.
pub(super) fn icon(name: &str) -> Markup {
    let path = match name {
        "overview" => "M3 13h4v7H3zM10 4h4v16h-4zM17 9h4v11h-4z",
        "fraud" => "M12 3l8 3v6c0 4.6-3.2 7.9-8 9-4.8-1.1-8-4.4-8-9V6zM12 8v5M12 16.2v.1",
        "alerts" => "M6 16V11a6 6 0 0 1 12 0v5l2 2H4zM10 21h4",
        "stock" => "M4 8l8-4 8 4v9l-8 4-8-4zM4 8l8 4 8-4M12 12v9",
        "sessions" => "M5 18a2 2 0 1 0 .1 0M19 6a2 2 0 1 0 .1 0M7 18h6a3.5 3.5 0 0 0 0-7h-2a3.5 3.5 0 0 1 0-7h6",
        "recommendations" => "M8 12a4 4 0 1 1 0-8 4 4 0 0 1 0 8zM16 20a4 4 0 1 1 0-8 4 4 0 0 1 0 8zM10.8 10.8l2.4 2.4",
        "health" => "M3 12h4l3-8 4 16 3-8h4",
        "kafka" => {
            "M12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 1 0 0-5zM12 9.5V6M12 14.5V18M12 2a2 2 0 1 0 0 4 2 2 0 1 0 0-4zM12 18a2 2 0 1 0 0 4 2 2 0 1 0 0-4zM14.2 10.8l3.1-1.8M14.2 13.2l3.1 1.8M19 6a2 2 0 1 0 0 4 2 2 0 1 0 0-4zM19 14a2 2 0 1 0 0 4 2 2 0 1 0 0-4z"
        }
        "theme" => "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
        "pause" => "M8 5v14M16 5v14",
        _ => "M4 12h16",
    };
    html! { svg.icon viewBox="0 0 24 24" aria-hidden="true" { path d=(path) {} } }
}

/// The mark of the product: a wheel in a stream.
pub(super) fn mark() -> Markup {
    PreEscaped(
        r#"<svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="10" r="7"/><path d="M12 3v14M5 10h14M7 5l10 10M17 5L7 15"/><path class="water" d="M1 20c2.2-2 4.4-2 6.6 0s4.4 2 6.6 0 4.4-2 6.6 0"/></svg>"#
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_bars_stay_inside() {
        assert!(spark(&[]).into_string().contains("<svg"));
        assert!(spark(&[3.0, 3.0]).into_string().contains("M0.0 26.0L100.0 26.0"));
        assert!(spark(&[0.0, 1.0, 0.5]).into_string().contains("M0.0 26.0L50.0 2.0L100.0 14.0"));
        assert!(bar(7.5, "low").into_string().contains(r#"width="100.0""#));
        assert!(
            bar(f64::NAN, "low").into_string().contains("NaN")
                || bar(-1.0, "low").into_string().contains(r#"width="0.0""#)
        );
    }
}

//! The frame around every page: head, navigation, heading, state of the connection.

use maud::{DOCTYPE, Markup, html};

use super::Page;
use super::shapes::{icon, mark};
use crate::assets::{ANSWER_STYLE_PATH, PLOTLY_PATH, STYLE_PATH};
use crate::params::Params;

/// What a page puts into the frame.
pub(super) struct Body {
    /// Beside the heading: store, range, filters.
    pub(super) controls: Markup,
    /// The rest.
    pub(super) content: Markup,
}

/// The whole page.
pub(super) fn page(page: Page, params: &Params, body: Body) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (page.title()) " · Millrace" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href=(STYLE_PATH);
                link rel="stylesheet" href="/assets/fraud.css";
                // Plotly would write its rules into the page, which the policy forbids; they are in our style sheet.
                link.no-inline-styles id="plotly.js-style-global" rel="stylesheet" href=(STYLE_PATH);
                // After it: what it says of the same pieces counts.
                @if page.is_answered() { link rel="stylesheet" href=(ANSWER_STYLE_PATH); }
                // Before the first paint, so that a chosen theme does not flash.
                script src="/assets/theme.js" {}
                script type="module" src="/assets/app.js" {}
            }
            body data-page=(page.name()) data-plotly=(PLOTLY_PATH) {
                a.skip href="#main" { "Skip to content" }
                (navigation(page))
                main id="main" tabindex="-1" {
                    header.top {
                        div.heading { h1 { (page.title()) } (connection()) }
                        div.controls { (body.controls) (pause()) }
                    }
                    noscript { p.notice { "Without JavaScript the figures are those of this moment; reload for newer ones." } }
                    p.notice.js id="notice" hidden {}
                    div id="live" data-query=(params.query("")) { (body.content) }
                }
                p.vh id="spoken" role="status" aria-live="polite" {}
            }
        }
    }
}

fn navigation(current: Page) -> Markup {
    html! {
        nav.rail aria-label="Pages" {
            a.brand href="/" aria-label="Millrace, overview" { (mark()) span { "Millrace" } }
            ul {
                @for page in Page::ALL.into_iter().filter(|page| page.chapter() == *page) {
                    li {
                        a href=(page.path()) aria-current=[(page == current.chapter()).then_some("page")] {
                            (icon(page.name()))
                            span.full { (page.title()) } span.brief aria-hidden="true" { (page.short_title()) }
                            @if page == Page::Fraud { span.badge id="fraud-badge" hidden {} }
                        }
                    }
                }
            }
            div.rail-foot {
                button.tool.js type="button" id="theme" title="Switch between light and dark" {
                    (icon("theme")) span { "Theme" }
                }
                a.tool href="/api/openapi.json" { "API" }
            }
        }
    }
}

fn connection() -> Markup {
    html! {
        span.connection.js id="connection" data-state="connecting" {
            span.dot aria-hidden="true" {} span id="connection-text" { "connecting…" }
        }
    }
}

fn pause() -> Markup {
    html! {
        button.tool.js type="button" id="pause" aria-pressed="false" title="Hold the figures still (P)" {
            (icon("pause")) span { "Pause" }
        }
    }
}

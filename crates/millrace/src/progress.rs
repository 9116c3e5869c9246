//! Progress of long work on a terminal: a bar when the end is known, a counting line when it is not.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// A bar over `total` units; hidden when standard error is not a terminal.
pub(crate) fn bar(total: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let style = "{msg:12} {bar:40} {human_pos}/{human_len}  {per_sec}  {eta} left";
    decorate(bar, style, what)
}

/// A counting line for work without a known end.
pub(crate) fn counter(what: &'static str) -> ProgressBar {
    decorate(ProgressBar::no_length(), "{msg:12} {spinner} {human_pos}  {per_sec}  {elapsed}", what)
}

/// A line of bytes read of those there are, most of which may not be needed.
pub(crate) fn bytes(what: &'static str) -> ProgressBar {
    decorate(ProgressBar::new(0), "{msg:12} {spinner} {bytes} read of {total_bytes}  {elapsed}", what)
}

fn decorate(bar: ProgressBar, style: &str, what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what);
    bar.enable_steady_tick(DRAW_EVERY);
    bar
}

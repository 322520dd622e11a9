//! The bar.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar with bytes, rate and what is left; nothing where standard error is no terminal.
pub(super) fn bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let style = "{bar:30.cyan/dim} {bytes:>10}/{total_bytes:<10} {bytes_per_sec:>12} {eta:>5} left  {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

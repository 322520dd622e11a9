//! A server that strangers besiege: whoever comes in good faith is served as if they were not there, and leaves no traces when they go.

mod memory;
mod strangers;
mod tcp;

use crate::report::Report;

/// All sieges.
pub(crate) fn run(report: &mut Report) {
    println!("sieges of antiphon serve");
    tcp::run(report);
    strangers::run(report);
}

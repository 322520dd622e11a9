//! The text format of Prometheus, version 0.0.4: families of samples, each with a name, labels and a value.

use std::fmt::{Display, Write as _};
use std::time::Duration;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Kind {
    /// It never falls while the program runs.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A page of figures.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Page(String);

/// The samples of one name.
#[derive(Debug)]
pub(in crate::server) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Page {
    /// Samples of this name follow. `help` is one line.
    pub(in crate::server) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.head(name, kind, help)
    }

    /// A family of one sample.
    pub(in crate::server) fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// Times in classes: each bound in turn, and the last class without one.
    pub(in crate::server) fn histogram(
        &mut self,
        name: &'static str,
        help: &str,
        bounds: &[Duration],
        counts: &[u64],
        sum: Duration,
    ) {
        let family = self.head(name, "histogram", help);
        let bounds = bounds.iter().map(|bound| bound.as_secs_f64().to_string());
        let bounds = bounds.chain(["+Inf".to_owned()]);
        let mut all = 0;
        // Each class holds those below it too.
        for (bound, count) in bounds.zip(counts) {
            all += count;
            _ = writeln!(family.text, "{name}_bucket{{le=\"{bound}\"}} {all}");
        }
        _ = writeln!(family.text, "{name}_sum {}\n{name}_count {all}", sum.as_secs_f64());
    }

    fn head(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        _ = writeln!(self.0, "# HELP {name} {}\n# TYPE {name} {kind}", escaped(help, false));
        Family {
            text: &mut self.0,
            name,
        }
    }

    /// The whole text.
    pub(in crate::server) fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// A value with these labels.
    pub(in crate::server) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.text.push_str(self.name);
        for (place, (name, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            _ = write!(self.text, "{before}{name}=\"{}\"", escaped(value, true));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        _ = writeln!(self.text, "{end} {value}");
        self
    }
}

/// A text that ends neither its line nor, in quotes, itself.
fn escaped(text: &str, quoted: bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => safe.push_str("\\\\"),
            '\n' => safe.push_str("\\n"),
            '"' if quoted => safe.push_str("\\\""),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_samples() {
        let mut page = Page::default();
        page.single("up_seconds", Kind::Gauge, "How long it has\nbeen up.", 1.5);
        let mut family = page.family("drops_total", Kind::Counter, "Drops.");
        family
            .sample(&[("cause", "late")], 3)
            .sample(&[("cause", "a\"b\\c\nd"), ("room", "x")], 4);
        let bounds = [Duration::from_micros(50), Duration::from_millis(1)];
        page.histogram(
            "latency_seconds",
            "Time.",
            &bounds,
            &[2, 0, 1],
            Duration::from_millis(5),
        );
        assert_eq!(
            page.into_text(),
            "# HELP up_seconds How long it has\\nbeen up.\n# TYPE up_seconds gauge\nup_seconds 1.5\n\
             # HELP drops_total Drops.\n# TYPE drops_total counter\ndrops_total{cause=\"late\"} 3\n\
             drops_total{cause=\"a\\\"b\\\\c\\nd\",room=\"x\"} 4\n\
             # HELP latency_seconds Time.\n# TYPE latency_seconds histogram\nlatency_seconds_bucket{le=\"0.00005\"} 2\n\
             latency_seconds_bucket{le=\"0.001\"} 2\nlatency_seconds_bucket{le=\"+Inf\"} 3\nlatency_seconds_sum 0.005\n\
             latency_seconds_count 3\n"
        );
    }
}

//! What was tried and what came of it.

use std::time::{Duration, Instant};

use crate::shell::tail;

/// Collects outcomes; prints each as it comes, and the sum at the end.
#[derive(Default)]
pub(crate) struct Report {
    passed: usize,
    failed: Vec<(String, String)>,
    unavailable: Vec<String>,
    parts: Vec<(String, Instant)>,
}

impl Report {
    /// The steps from here on belong to the part of that name.
    pub(crate) fn part(&mut self, name: &str) {
        self.parts.push((name.to_owned(), Instant::now()));
    }

    /// A step held.
    pub(crate) fn pass(&mut self, what: &str, detail: &str, took: Duration) {
        self.passed += 1;
        let detail = if detail.is_empty() {
            String::new()
        } else {
            format!(": {detail}")
        };
        println!("  ok    {what}{detail} ({:.0} s)", took.as_secs_f64());
    }

    /// A step did not hold; `why` is printed whole.
    pub(crate) fn fail(&mut self, what: &str, why: &str) {
        println!("  FAIL  {what}");
        for line in why.lines() {
            println!("        {line}");
        }
        self.failed.push((what.to_owned(), tail(why, 12)));
    }

    /// A measurement that should be there is not; printed at the end only, so that a table stays whole.
    pub(crate) fn missing(&mut self, what: &str) {
        self.failed.push((format!("{what} (missing)"), String::new()));
    }

    /// A step could not be tried, and nobody promised that it can be everywhere.
    pub(crate) fn unavailable(&mut self, what: &str, why: &str) {
        println!("  n/a   {what}: not available: {}", why.trim());
        self.unavailable.push(what.to_owned());
    }

    /// Prints the sum; an error if anything failed.
    pub(crate) fn close(self) -> Result<(), String> {
        let ends = self.parts.iter().skip(1).map(|(_, began)| *began);
        println!();
        for ((name, began), end) in self.parts.iter().zip(ends.chain([Instant::now()])) {
            println!("{name:>10} {:4.0} s", (end - *began).as_secs_f64());
        }
        let unavailable = match self.unavailable.len() {
            0 => String::new(),
            n => format!(", {n} not available: {}", self.unavailable.join(", ")),
        };
        println!("\n{} passed, {} failed{unavailable}", self.passed, self.failed.len());
        if self.failed.is_empty() {
            Ok(())
        } else {
            // Once more and short, for whoever sees only the end of a long log.
            for (what, why) in &self.failed {
                println!("\nFAIL  {what}\n{why}");
            }
            let names: Vec<&str> = self.failed.iter().map(|(what, _)| what.as_str()).collect();
            Err(format!("failed: {}", names.join(", ")))
        }
    }
}

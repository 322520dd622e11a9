//! What was tried and what came of it.

use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use crate::shell::tail;

/// Collects outcomes; prints each as it comes, and the sum at the end.
#[derive(Default)]
pub(crate) struct Report {
    passed: usize,
    failed: Vec<(String, String)>,
    unavailable: Vec<String>,
    /// The part that runs, and since when; and those before it, with the time that each took.
    current: Option<(String, Instant)>,
    parts: Vec<(String, Duration)>,
    /// Lines that are printed later, where other parts print now.
    kept: Option<Vec<String>>,
}

impl Report {
    /// One whose lines [`Self::take`] prints.
    pub(crate) fn kept_back() -> Self {
        Self {
            kept: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// Waits for what went beside, prints it, and takes it over.
    pub(crate) fn take(&mut self, beside: &mut Vec<ScopedJoinHandle<'_, Self>>) {
        for beside in beside.drain(..) {
            let Ok(mut other) = beside.join() else {
                self.fail("what went beside", "it panicked");
                continue;
            };
            for line in other.kept.take().into_iter().flatten() {
                println!("{line}");
            }
            self.parts.append(&mut other.parts);
            self.passed += other.passed;
            self.failed.append(&mut other.failed);
            self.unavailable.append(&mut other.unavailable);
        }
    }

    /// Prints a line.
    pub(crate) fn say(&mut self, line: String) {
        match &mut self.kept {
            Some(kept) => kept.push(line),
            None => println!("{line}"),
        }
    }

    /// The steps from here on belong to the part of that name.
    pub(crate) fn part(&mut self, name: &str) {
        self.end_part();
        self.current = Some((name.to_owned(), Instant::now()));
    }

    /// The part that runs is over.
    pub(crate) fn end_part(&mut self) {
        let ended = self.current.take();
        self.parts.extend(ended.map(|(name, began)| (name, began.elapsed())));
    }

    /// A step held.
    pub(crate) fn pass(&mut self, what: &str, detail: &str, took: Duration) {
        self.passed += 1;
        let detail = if detail.is_empty() {
            String::new()
        } else {
            format!(": {detail}")
        };
        self.say(format!("  ok    {what}{detail} ({:.0} s)", took.as_secs_f64()));
    }

    /// A step did not hold; `why` is printed whole.
    pub(crate) fn fail(&mut self, what: &str, why: &str) {
        self.say(format!("  FAIL  {what}"));
        for line in why.lines() {
            self.say(format!("        {line}"));
        }
        self.failed.push((what.to_owned(), tail(why, 12)));
    }

    /// A measurement that should be there is not; printed at the end only, so that a table stays whole.
    pub(crate) fn missing(&mut self, what: &str) {
        self.failed.push((format!("{what} (missing)"), String::new()));
    }

    /// A step could not be tried, and nobody promised that it can be everywhere.
    pub(crate) fn unavailable(&mut self, what: &str, why: &str) {
        self.say(format!("  n/a   {what}: not available: {}", why.trim()));
        self.unavailable.push(what.to_owned());
    }

    /// Prints the sum; an error if anything failed.
    pub(crate) fn close(mut self) -> Result<(), String> {
        self.end_part();
        println!();
        for (name, took) in &self.parts {
            println!("{name:>10} {:4.0} s", took.as_secs_f64());
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

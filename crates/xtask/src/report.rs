//! What was tried and what came of it.

use std::time::Duration;

/// Collects outcomes; prints each as it comes, and the sum at the end.
#[derive(Default)]
pub(crate) struct Report {
    passed: usize,
    failed: Vec<String>,
}

impl Report {
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
        self.failed.push(what.to_owned());
    }

    /// Prints the sum; an error if anything failed.
    pub(crate) fn close(self) -> Result<(), String> {
        println!("\n{} passed, {} failed", self.passed, self.failed.len());
        if self.failed.is_empty() {
            Ok(())
        } else {
            Err(format!("failed: {}", self.failed.join(", ")))
        }
    }
}

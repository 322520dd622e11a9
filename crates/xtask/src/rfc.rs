//! Turns the clauses that comments cite into `docs/rfc-coverage.md`: clause, code, test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::shell::root;

#[derive(Default)]
struct Places {
    code: BTreeSet<String>,
    tests: BTreeSet<String>,
}

/// Writes the page, or with `check` says whether it is current.
pub(crate) fn run(check: bool) -> Result<(), String> {
    let page = page()?;
    let file = root().join("docs/rfc-coverage.md");
    if check {
        let now = fs::read_to_string(&file).unwrap_or_default();
        return if now == page {
            Ok(())
        } else {
            Err("docs/rfc-coverage.md is stale: run `cargo xtask rfc`".into())
        };
    }
    fs::write(&file, page).map_err(|e| format!("{}: {e}", file.display()))
}

fn page() -> Result<String, String> {
    let listed = Command::new("git")
        .args(["ls-files", "crates/*.rs", "conformance/*.rs"])
        .current_dir(root())
        .output()
        .map_err(|e| format!("git: {e}"))?;
    let mut clauses: BTreeMap<(u32, Vec<u32>, String), Places> = BTreeMap::new();
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        let Ok(text) = fs::read_to_string(root().join(name)) else {
            continue;
        };
        let tests_from = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
        let all_tests = name.contains("/tests/") || name.ends_with("/tests.rs");
        for (at, rfc, clause) in citations(&text) {
            let key = (
                rfc,
                clause.split('.').map(|n| n.parse().unwrap_or(u32::MAX)).collect(),
                clause,
            );
            let places = clauses.entry(key).or_default();
            let side = if all_tests || at >= tests_from {
                &mut places.tests
            } else {
                &mut places.code
            };
            side.insert(name.to_owned());
        }
    }
    let mut out = String::from(
        "# RFC coverage\n\nMade by `cargo xtask rfc` from the clauses that comments cite. A clause without a test may still be \
         tested by a file that does not name it.\n",
    );
    let mut current = 0;
    for ((rfc, _, clause), places) in &clauses {
        if *rfc != current {
            current = *rfc;
            let _ = write!(out, "\n## RFC {rfc}\n\n| clause | code | test |\n|---|---|---|\n");
        }
        let list = |set: &BTreeSet<String>| set.iter().map(|f| format!("`{f}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "| §{clause} | {} | {} |", list(&places.code), list(&places.tests));
    }
    Ok(out)
}

/// Every `RFC nnnn §a.b.c` in `text`: where, the number, the clause.
fn citations(text: &str) -> Vec<(usize, u32, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("RFC ") {
        let rest = &text[at + 4..];
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let Some(after) = rest[digits.len()..].strip_prefix(" §") else {
            continue;
        };
        let clause: String = after
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '.')
            .collect();
        let clause = clause.trim_end_matches('.').to_owned();
        if let (Ok(rfc), false) = (digits.parse(), clause.is_empty()) {
            found.push((at, rfc, clause));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_clauses() {
        let text = "// RFC 8445 §7.3.1.5: do so. See RFC 3550, RFC 3711 §B.";
        assert_eq!(
            citations(text),
            [(3, 8445, "7.3.1.5".to_owned()), (44, 3711, "B".to_owned())]
        );
    }
}

//! A board: rows of figures with bounds, run for many seeds, printed, and compared with what was kept.
#![allow(dead_code, reason = "each board takes what it needs")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a figure must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    /// Its sign and its value, as the table has them.
    pub(crate) fn shown(self) -> (&'static str, String) {
        match self {
            Self::AtMost(bound) => ("<=", show(bound)),
            Self::AtLeast(bound) => (">=", show(bound)),
        }
    }
}

/// What counts of several seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Counts {
    Worst,
    Mean,
}

/// One figure of one run.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) bound: Bound,
    pub(crate) counts: Counts,
}

/// A figure that must not be more.
pub(crate) fn at_most(name: impl Into<String>, value: f64, unit: &'static str, bound: f64) -> Figure {
    Figure {
        name: name.into(),
        value,
        unit,
        bound: Bound::AtMost(bound),
        counts: Counts::Worst,
    }
}

/// A figure that must not be less.
pub(crate) fn at_least(name: impl Into<String>, value: f64, unit: &'static str, bound: f64) -> Figure {
    Figure {
        bound: Bound::AtLeast(bound),
        ..at_most(name, value, unit, bound)
    }
}

impl Figure {
    /// Of all seeds the mean counts.
    pub(crate) fn mean(self) -> Self {
        Self {
            counts: Counts::Mean,
            ..self
        }
    }
}

/// What a run of a row gives: its figures, and its scenes to be plotted, by name.
pub(crate) struct Outcome<S> {
    pub(crate) figures: Vec<Figure>,
    pub(crate) scenes: Vec<(&'static str, S)>,
}

impl<S> Default for Outcome<S> {
    fn default() -> Self {
        Self {
            figures: Vec::new(),
            scenes: Vec::new(),
        }
    }
}

/// A row of the table.
pub(crate) struct Row<S> {
    pub(crate) number: u32,
    pub(crate) link: &'static str,
    pub(crate) run: fn(seed: u64) -> Outcome<S>,
}

/// A figure over all seeds.
#[derive(Clone, Debug)]
pub(crate) struct Result {
    pub(crate) figure: Figure,
    /// Of each seed.
    values: Vec<f64>,
}

impl Result {
    pub(crate) fn value(&self) -> f64 {
        match self.figure.counts {
            Counts::Mean => self.values.iter().sum::<f64>() / self.values.len() as f64,
            Counts::Worst => {
                let worst = match self.figure.bound {
                    Bound::AtMost(_) => f64::max,
                    Bound::AtLeast(_) => f64::min,
                };
                self.values.iter().copied().reduce(worst).unwrap_or(f64::NAN)
            }
        }
    }

    fn middle(&self) -> f64 {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    pub(crate) fn holds(&self) -> bool {
        match self.figure.bound {
            Bound::AtMost(bound) => self.value() <= bound,
            Bound::AtLeast(bound) => self.value() >= bound,
        }
    }

    /// One line of the table.
    fn line(&self) -> String {
        let unit = self.figure.unit;
        let bound = match self.figure.bound {
            Bound::AtMost(bound) | Bound::AtLeast(bound) => bound,
        };
        let (sign, shown) = self.figure.bound.shown();
        let mean = if self.figure.counts == Counts::Mean {
            " (mean)"
        } else {
            ""
        };
        let verdict = if self.holds() {
            "holds".to_owned()
        } else {
            format!("misses by {}", show((self.value() - bound).abs()))
        };
        format!(
            "    {:<44} {:>8} {:<7} {sign} {:<8} {:<18} middle {}",
            self.figure.name.clone() + mean,
            show(self.value()),
            unit,
            shown,
            verdict,
            show(self.middle()),
        )
    }
}

/// Three digits or so.
pub(crate) fn show(value: f64) -> String {
    if value.is_infinite() {
        "never".to_owned()
    } else if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        // Plus zero: there is no negative nothing.
        format!("{:.2}", value + 0.0)
    }
}

/// Results by the numbers of their rows.
pub(crate) type Results = BTreeMap<u32, Vec<Result>>;

/// Runs rows for seeds, each by `run`, in as many threads as there are processors. `keep` gets each outcome of the first seed.
pub(crate) fn run<S>(
    rows: &[Row<S>],
    seeds: u64,
    run: impl Fn(&Row<S>, u64) -> Outcome<S> + Sync,
    keep: impl Fn(&Row<S>, &Outcome<S>) + Sync,
) -> Results {
    // The first seeds of all rows first: who looks on sees each row soon.
    let jobs: Vec<(u64, &Row<S>)> = (0..seeds)
        .flat_map(|seed| rows.iter().map(move |row| (seed, row)))
        .collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((seed, row)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run(row, *seed);
                    if *seed == 0 {
                        keep(row, &outcome);
                    }
                    let mut done = done.lock().expect("no run panics with the lock");
                    done.insert((row.number, *seed), outcome.figures);
                }
            });
        }
    });
    let mut results = Results::new();
    for ((row, _), figures) in done.into_inner().expect("all threads have ended") {
        let row = results.entry(row).or_default();
        for (place, figure) in figures.into_iter().enumerate() {
            match row.get_mut(place) {
                Some(result) => result.values.push(figure.value),
                None => row.push(Result {
                    values: vec![figure.value],
                    figure,
                }),
            }
        }
    }
    results
}

/// The table as text.
pub(crate) fn table<S>(rows: &[Row<S>], seeds: u64, results: &Results) -> String {
    let mut text = format!("# {seeds} seeds, of which the worst counts, and the mean where it says so.\n");
    for row in rows {
        let Some(results) = results.get(&row.number) else {
            continue;
        };
        let verdict = if results.iter().all(Result::holds) {
            "holds"
        } else {
            "misses"
        };
        let _ = writeln!(text, "{:>2} {verdict}: {}", row.number, row.link);
        for result in results {
            let _ = writeln!(text, "{}", result.line());
        }
    }
    text
}

/// Two tables side by side: each figure with the one controller and with the other, `+` where it holds.
pub(crate) fn compare<S>(rows: &[Row<S>], seeds: u64, names: [&str; 2], results: [&Results; 2]) -> String {
    let mut text = format!("# {seeds} seeds. {} beside {}; `+` holds.\n", names[0], names[1]);
    let mut won = [0, 0];
    for row in rows {
        let Some(both) = results[0].get(&row.number).zip(results[1].get(&row.number)) else {
            continue;
        };
        let whole = [both.0, both.1].map(|results| results.iter().all(Result::holds));
        for (won, whole) in won.iter_mut().zip(whole) {
            *won += u32::from(whole);
        }
        let verdict = whole.map(|whole| if whole { "holds" } else { "misses" });
        let _ = writeln!(text, "{:>2} {} / {}: {}", row.number, verdict[0], verdict[1], row.link);
        for (first, second) in both.0.iter().zip(both.1) {
            let (sign, bound) = first.figure.bound.shown();
            let shown = [first, second].map(|result| {
                let holds = if result.holds() { '+' } else { ' ' };
                format!("{:>8} {holds}", show(result.value()))
            });
            let _ = writeln!(
                text,
                "    {:<44} {} {} {:<7} {sign} {}",
                first.figure.name, shown[0], shown[1], first.figure.unit, bound
            );
        }
    }
    let _ = writeln!(
        text,
        "rows that hold whole: {} {}, {} {}",
        names[0], won[0], names[1], won[1]
    );
    text
}

/// What a table that was kept says to hold: the row's number and the figure's name.
pub(crate) fn held(table: &str) -> Vec<(u32, String)> {
    let mut row = 0;
    let mut held = Vec::new();
    for line in table.lines() {
        if let Some(figure) = line.strip_prefix("    ") {
            let name: String = figure.chars().take(44).collect();
            if line.contains(" holds ") {
                held.push((row, name.trim_end().trim_end_matches(" (mean)").to_owned()));
            }
        } else if let Some((number, _)) = line.trim_start().split_once(' ')
            && let Ok(number) = number.parse()
        {
            row = number;
        }
    }
    held
}

/// What does not hold any more of a table that was kept, among the rows that were run; `whole`: with all seeds.
pub(crate) fn fallen(kept: &str, results: &Results, whole: bool) -> Vec<String> {
    let mut fallen = Vec::new();
    for (row, name) in held(kept) {
        let Some(results) = results.get(&row) else { continue };
        match results.iter().find(|result| result.figure.name == name) {
            // The mean of a few says little of the mean of all.
            Some(result) if result.figure.counts == Counts::Mean && !whole => {}
            Some(result) if result.holds() => {}
            _ => fallen.push(format!("row {row}: {name}")),
        }
    }
    fallen
}

/// A variable of the environment, if it says anything.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

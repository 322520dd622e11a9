//! The table of `docs/architecture.md`: how it is written, how it is read, and what may not get worse.

use std::fmt::Write as _;

use super::measure::Measured;

const START: &str = "<!-- cargo xtask house: from here -->\n";
const END: &str = "<!-- cargo xtask house: to here -->\n";

/// The most that each figure of a row should be.
pub(super) const LIMITS: [usize; 6] = [0, 600, 80, 25, 0, 0];
const HEADS: [&str; 6] = [
    "circles of files",
    "largest file",
    "longest function",
    "largest struct",
    "files without a head",
    "short field docs",
];

/// One crate's figures, in the order of [`HEADS`], each with what says where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) figures: [(usize, String); 6],
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let cell = |(figure, place): &(usize, String)| match place.as_str() {
            "" => figure.to_string(),
            place => format!("{figure} {place}"),
        };
        self.figures.iter().map(cell).collect()
    }
}

/// The place of the largest, for a cell.
pub(super) fn largest(list: &[Measured]) -> (usize, String) {
    match list.first() {
        None => (0, String::new()),
        Some(first) if first.name.is_empty() => (first.size, format!("`{}`", first.file)),
        Some(first) => (first.size, format!("`{}`", first.name)),
    }
}

/// The table as Markdown, columns aligned for a terminal too.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut lines = vec![vec!["crate".to_owned()]];
    lines[0].extend(
        HEADS
            .iter()
            .zip(LIMITS)
            .map(|(head, limit)| format!("{head} (≤ {limit})")),
    );
    for row in rows {
        let mut line = vec![format!("`{}`", row.name)];
        line.extend(row.cells());
        lines.push(line);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..=HEADS.len()).map(width).collect();
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(out, "| {cell:width$} ");
        }
        out.push_str("|\n");
        if at == 0 {
            for width in &widths {
                let _ = write!(out, "|{}", "-".repeat(width + 2));
            }
            out.push_str("|\n");
        }
    }
    out
}

/// What a page's marked block says. `None`: it has no such block.
pub(super) fn read(page: &str) -> Option<Vec<Row>> {
    let (_, block) = page.split_once(START)?;
    let (block, _) = block.split_once(END)?;
    let row = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?.to_owned();
        let mut figures: [(usize, String); 6] = Default::default();
        for figure in &mut figures {
            let (number, place) = cells.next().map(|cell| cell.split_once(' ').unwrap_or((cell, "")))?;
            *figure = (number.parse().ok()?, place.to_owned());
        }
        Some(Row { name, figures })
    };
    Some(block.lines().filter_map(row).collect())
}

/// The page with `rows` in its marked block.
pub(super) fn write(page: &str, rows: &[Row]) -> Option<String> {
    let (before, rest) = page.split_once(START)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{START}\n{}\n{END}{after}", markdown(rows)))
}

/// The figures that are over their limit and worse than the page says: nobody may write these down.
pub(super) fn worse(now: &[Row], page: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    for row in now {
        let before = page.iter().find(|before| before.name == row.name);
        for (at, (figure, place)) in row.figures.iter().enumerate() {
            let allowed = before.map_or(0, |before| before.figures[at].0).max(LIMITS[at]);
            if *figure > allowed {
                found.push(format!(
                    "{}: {}: {figure} {place}, at most {allowed}",
                    row.name, HEADS[at]
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(circles: usize, lines: usize) -> Row {
        let place = |text: &str| text.to_owned();
        Row {
            name: "ice".into(),
            figures: [
                (circles, place("")),
                (lines, place("`agent.rs`")),
                (80, place("`poll`")),
                (3, place("`Pair`")),
                (0, place("")),
                (1, place("")),
            ],
        }
    }

    #[test]
    fn the_page_is_read_as_it_was_written() {
        let page = format!("# Plan\n{START}old\n{END}rest\n");
        let rows = [row(2, 640)];
        let written = write(&page, &rows).expect("it has the marks");
        assert!(written.starts_with("# Plan\n") && written.ends_with("rest\n") && !written.contains("old"));
        assert_eq!(read(&written).as_deref(), Some(&rows[..]));
        assert_eq!(write(&written, &rows).as_deref(), Some(&*written));
        assert!(read("# Plan\n").is_none() && write("# Plan\n", &rows).is_none());
    }

    #[test]
    fn a_figure_may_grow_within_its_limit_and_else_only_fall() {
        assert!(worse(&[row(0, 600)], &[row(0, 100)]).is_empty());
        assert!(worse(&[row(1, 700)], &[row(1, 700)]).is_empty());
        assert_eq!(worse(&[row(1, 701)], &[row(1, 700)]).len(), 1);
        assert_eq!(worse(&[row(1, 601)], &[]).len(), 3, "a new crate keeps the limits");
    }
}

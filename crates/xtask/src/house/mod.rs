//! Looks over the house: circles of files, sizes, documentation, crate by crate, beside the table in `docs/architecture.md`.

mod arrows;
mod circles;
mod measure;
mod table;
mod tree;

use std::fs;
use std::path::PathBuf;

use arrows::Arrow;
use measure::{Measured, Measures};
use table::{LIMITS, Row};
use tree::Tree;

use crate::shell::root;

const PAGE: &str = "docs/architecture.md";

/// What to look at.
#[derive(clap::Args)]
pub(crate) struct HouseArgs {
    /// Show everything that this crate has over the limits, and write nothing.
    #[arg(long = "crate", value_name = "NAME")]
    name: Option<String>,
    /// Fail where the code is worse than the page says, or the page is not what the code is; write nothing.
    #[arg(long)]
    check: bool,
}

/// A crate as it was found.
struct Room {
    name: String,
    tree: Tree,
    arrows: Vec<Arrow>,
    circles: Vec<Vec<usize>>,
    measures: Measures,
}

impl Room {
    fn names(&self, files: &[usize]) -> Vec<&str> {
        files.iter().map(|file| &*self.tree.files[*file].name).collect()
    }
}

/// Looks, prints, and writes the page or checks it.
pub(crate) fn run(args: &HouseArgs) -> Result<(), String> {
    if let Some(name) = &args.name {
        let name = name.strip_prefix("antiphon-").unwrap_or(name);
        let (name, folder) = folders()?
            .into_iter()
            .find(|(known, _)| known == name)
            .ok_or_else(|| format!("no crate {name}"))?;
        details(&look(name, folder)?);
        return Ok(());
    }
    if args.check {
        return check();
    }
    let rooms = rooms()?;
    let rows = rows(&rooms);
    print!("{}", table::markdown(&rows));
    for room in &rooms {
        for circle in &room.circles {
            println!("circle in {}: {}", room.name, room.names(circle).join(" "));
        }
    }
    let file = root().join(PAGE);
    let page = fs::read_to_string(&file).map_err(|e| format!("{PAGE}: {e}"))?;
    let Some(before) = table::read(&page) else {
        return Ok(());
    };
    let worse = table::worse(&rows, &before);
    // An empty table is filled with what there is.
    if !worse.is_empty() && !before.is_empty() {
        return Err(format!("{PAGE} stays as it is:\n{}", worse.join("\n")));
    }
    let written = table::write(&page, &rows).ok_or("the marks are gone")?;
    fs::write(&file, written).map_err(|e| format!("{PAGE}: {e}"))
}

/// Whether the page says what the code is, and nothing got worse.
pub(crate) fn check() -> Result<(), String> {
    let page = fs::read_to_string(root().join(PAGE)).map_err(|e| format!("{PAGE}: {e}"))?;
    let before = table::read(&page).ok_or_else(|| format!("{PAGE} has no table of the house"))?;
    let rows = rows(&rooms()?);
    let worse = table::worse(&rows, &before);
    if !worse.is_empty() {
        return Err(worse.join("\n"));
    }
    match table::write(&page, &rows) {
        Some(written) if written == page => Ok(()),
        _ => Err(format!("{PAGE} is stale: run `cargo xtask house`")),
    }
}

/// Every crate and where its sources lie.
fn folders() -> Result<Vec<(String, PathBuf)>, String> {
    let crates = root().join("crates");
    let mut found = vec![("conformance".to_owned(), root().join("conformance/src"))];
    for entry in fs::read_dir(&crates).map_err(|e| format!("{}: {e}", crates.display()))? {
        let entry = entry.map_err(|e| e.to_string())?;
        found.push((
            entry.file_name().to_string_lossy().into_owned(),
            entry.path().join("src"),
        ));
    }
    found.sort();
    Ok(found)
}

fn look(name: String, folder: PathBuf) -> Result<Room, String> {
    let tree = Tree::read(&folder)?;
    let arrows = arrows::arrows(&tree);
    let circles = circles::circles(tree.files.len(), &arrows);
    let measures = measure::measure(&tree);
    Ok(Room {
        name,
        tree,
        arrows,
        circles,
        measures,
    })
}

/// All crates, one after the other: a tree of syntax may stay on its thread only.
fn rooms() -> Result<Vec<Room>, String> {
    folders()?
        .into_iter()
        .map(|(name, folder)| look(name, folder))
        .collect()
}

fn rows(rooms: &[Room]) -> Vec<Row> {
    let row = |room: &Room| {
        let measures = &room.measures;
        let count = |list: usize| (list, String::new());
        Row {
            name: room.name.clone(),
            figures: [
                count(room.circles.len()),
                table::largest(&measures.files),
                table::largest(&measures.functions),
                table::largest(&measures.structs),
                count(measures.without_head.len()),
                count(measures.short_docs.len()),
            ],
        }
    };
    rooms.iter().map(row).collect()
}

/// Prints all that a crate has over the limits.
fn details(room: &Room) {
    println!(
        "{}: {} files, {} circles",
        room.name,
        room.tree.files.len(),
        room.circles.len()
    );
    for circle in &room.circles {
        println!("\ncircle of {}: {}", circle.len(), room.names(circle).join(" "));
        for arrow in &room.arrows {
            if circle.contains(&arrow.from) && circle.contains(&arrow.to) {
                let (from, to) = (&room.tree.files[arrow.from].name, &room.tree.files[arrow.to].name);
                println!("  {from}:{} -> {to}: {}", arrow.line, arrow.path);
            }
        }
    }
    let over = |title: &str, list: &[Measured], limit: usize| {
        println!("\n{title} over {limit}, else the largest:");
        for (at, one) in list.iter().enumerate() {
            if at == 0 || one.size > limit {
                println!("  {} {} {}:{}", one.size, one.name, one.file, one.line);
            }
        }
    };
    over("files (lines)", &room.measures.files, LIMITS[1]);
    over("functions (lines)", &room.measures.functions, LIMITS[2]);
    over("structs (fields)", &room.measures.structs, LIMITS[3]);
    println!("\nfiles without //!: {}", room.measures.without_head.len());
    for one in &room.measures.without_head {
        println!("  {}", one.file);
    }
    println!(
        "\npublic fields with a doc of fewer than 3 words: {}",
        room.measures.short_docs.len()
    );
    for one in &room.measures.short_docs {
        println!("  {} {}:{}", one.name, one.file, one.line);
    }
}

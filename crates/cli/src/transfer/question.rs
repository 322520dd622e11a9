//! What the user is asked before files of a stranger are taken.

use std::fmt::Write;
use std::io;

use cap_std::fs::Dir;
use indicatif::HumanBytes;

use super::folder::Folders;
use super::names::Plan;
use super::protocol::Entry;
use crate::text::plain;

/// Names that the question shows, and as many of those that are renamed.
const SHOWN: usize = 20;
/// Characters of a path that are shown.
const SHOWN_PATH: usize = 120;

/// Asks at the terminal.
pub(super) async fn ask(list: &[Entry], plan: &Plan, folders: &Folders, replaced: bool) -> bool {
    let taken = Taken {
        names: taken(plan, folders),
        replaced,
    };
    eprint!("{}", offer(list, plan, taken));
    eprint!("Receive {}? [y/N] ", amount(list, plan));
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    matches!(answer.await, Ok(Ok(line)) if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// How many of the names are taken already, and what becomes of those files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    names: usize,
    replaced: bool,
}

/// The offer in words: the first names, every odd one that there is room for, what is taken, and how much it is.
fn offer(list: &[Entry], plan: &Plan, taken: Taken) -> String {
    let mut text = String::new();
    for (file, entry) in list.iter().enumerate().take(SHOWN) {
        line(&mut text, file, entry, plan);
    }
    if let more @ 1.. = list.len().saturating_sub(SHOWN) {
        _ = writeln!(text, "  ... and {more} more");
    }
    text.push_str(&renamed(list, plan, SHOWN));
    match (taken.names, taken.replaced) {
        (0, _) => {}
        (names, true) => _ = writeln!(text, "{names} of these names are taken: those files are replaced"),
        (names, false) => _ = writeln!(text, "{names} of these names are taken: the new files get numbers"),
    }
    text
}

/// `12 files in 3 folders, 1.5 MiB`.
fn amount(list: &[Entry], plan: &Plan) -> String {
    let bytes = list.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.size));
    let folders = match plan.folders.len() - 1 {
        0 => String::new(),
        1 => " in 1 folder".to_owned(),
        folders => format!(" in {folders} folders"),
    };
    format!("{} files{folders}, {}", list.len(), HumanBytes(bytes))
}

/// The files from `from` on that are called otherwise here than the sender calls them.
pub(super) fn renamed(list: &[Entry], plan: &Plan, from: usize) -> String {
    let mut text = String::new();
    let odd = |file: &usize| plan.places[*file].renamed;
    let count = (0..list.len()).filter(odd).count();
    for file in (from..list.len()).filter(odd).take(SHOWN) {
        line(&mut text, file, &list[file], plan);
    }
    if count > 0 {
        _ = writeln!(
            text,
            "{count} names are hidden, acted upon or unclear on some system, and are changed"
        );
    }
    text
}

fn line(text: &mut String, file: usize, entry: &Entry, plan: &Plan) {
    let size = HumanBytes(entry.size).to_string();
    let path = plan.path(file);
    _ = write!(text, "  {size:>12}  {}", plain(&path).at_most(SHOWN_PATH));
    if plan.places[file].renamed {
        _ = write!(text, "   (sent as \"{}\")", plain(&entry.path).at_most(SHOWN_PATH));
    }
    text.push('\n');
}

/// How many of the names are there already.
fn taken(plan: &Plan, folders: &Folders) -> usize {
    let mut taken = 0;
    let mut open: Option<(usize, Option<Dir>)> = None;
    for place in &plan.places {
        if open.as_ref().is_none_or(|(folder, _)| *folder != place.folder) {
            open = Some((place.folder, folders.find(place.folder).ok()));
        }
        if let Some((_, Some(dir))) = &open
            && dir.symlink_metadata(&place.name).is_ok()
        {
            taken += 1;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(paths: &[&str]) -> Vec<Entry> {
        let entry = |path: &&str| Entry {
            path: (*path).to_owned(),
            size: 1 << 20,
        };
        paths.iter().map(entry).collect()
    }

    #[test]
    fn mend18_the_question_shows_what_is_asked() {
        let mut paths: Vec<String> = (0..50).map(|n| format!("photos/{n}.jpg")).collect();
        paths.push(".ssh/authorized_keys".into());
        paths.push("photos/\x1b[1A\x1b[2Kinnocent\u{202e}gpj.exe".into());
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let list = list(&paths);
        let plan = Plan::new(&list).unwrap();
        let taken = Taken {
            names: 3,
            replaced: false,
        };
        let text = offer(&list, &plan, taken);
        for part in [
            "1.00 MiB  photos/0.jpg\n",
            "... and 32 more\n",
            "_ssh/authorized_keys_   (sent as \".ssh/authorized_keys\")\n",
            "photos/_[1A_[2Kinnocent_gpj.exe   (sent as \"photos/\\u{1b}[1A\\u{1b}[2Kinnocent\\u{202e}gpj.exe\")\n",
            "2 names are hidden",
            "3 of these names are taken: the new files get numbers\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("photos/20.jpg") && !text.contains("photos/49.jpg"));
        assert!(text.chars().all(|c| c == '\n' || !crate::text::is_unseen(c)));
        assert_eq!(amount(&list, &plan), "52 files in 2 folders, 52.00 MiB");
        // However much is offered, the question stays on a page.
        let many: Vec<String> = (0..1000).map(|n| format!(".{n}{}", "x".repeat(1000))).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let list = self::list(&many);
        let text = offer(&list, &Plan::new(&list).unwrap(), taken);
        assert!(text.lines().count() <= 2 * SHOWN + 3 && text.len() < 20_000);
    }

    #[test]
    fn a_plain_offer_says_no_more_than_there_is() {
        let list = list(&["a", "b"]);
        let plan = Plan::new(&list).unwrap();
        let taken = Taken {
            names: 0,
            replaced: true,
        };
        let text = offer(&list, &plan, taken);
        assert_eq!(text, "      1.00 MiB  a\n      1.00 MiB  b\n");
        assert_eq!(amount(&list, &plan), "2 files, 2.00 MiB");
    }
}

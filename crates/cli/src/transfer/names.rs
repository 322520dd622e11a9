//! Names that a stranger sends, made safe: what they may be here, on any system.

use std::collections::{HashMap, HashSet};

use unicode_normalization::UnicodeNormalization;

use super::protocol::Entry;
use super::rules::{ACTED_UPON, ACTED_UPON_ENDS, DEVICES, MAX_DEPTH, MAX_NAME, MAX_PATH, PART};
use crate::text::is_unseen;

/// Why a list of files was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing, or an empty part (an absolute path begins with one).
    #[error("a path with an empty part")]
    Empty,
    /// `.` or `..`.
    #[error("a path that leads elsewhere")]
    Dots,
    /// Too long or too deep.
    #[error("a path that is too long")]
    Long,
    /// The same path twice, or a file that is a folder too.
    #[error("the same path twice")]
    Twice,
}

/// Whether a path with `/` between its parts can be sent at all.
///
/// # Errors
/// Any [`PathError`] but `Twice`.
pub(super) fn check(path: &str) -> Result<(), PathError> {
    if path.len() > MAX_PATH || path.split('/').count() > MAX_DEPTH {
        return Err(PathError::Long);
    }
    for name in path.split('/') {
        match name {
            "" => return Err(PathError::Empty),
            "." | ".." => return Err(PathError::Dots),
            _ => {}
        }
    }
    Ok(())
}

/// A folder of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    /// The folder that it is in; of the first of all, itself.
    pub(super) parent: usize,
    pub(super) name: String,
}

/// Where a file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its number among the folders.
    pub(super) folder: usize,
    pub(super) name: String,
    /// Whether it, or a folder that it is in, is called otherwise than the sender says.
    pub(super) renamed: bool,
}

/// Where everything of a list goes: each file has a name of its own in a folder of its own, on any system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The first is the one that everything goes into.
    pub(super) folders: Vec<Folder>,
    /// By the numbers of the list.
    pub(super) places: Vec<Place>,
}

impl Plan {
    /// Gives everything a place.
    ///
    /// # Errors
    /// Any [`PathError`].
    pub(super) fn new(list: &[Entry]) -> Result<Self, PathError> {
        let mut plan = Self {
            folders: vec![Folder {
                parent: 0,
                name: String::new(),
            }],
            places: Vec::with_capacity(list.len()),
        };
        let mut taken = Taken::default();
        // What the sender calls it, in which folder: a folder's number, or a file.
        let mut known: HashMap<(usize, &str), Option<usize>> = HashMap::new();
        let mut renamed_folders = vec![false];
        for entry in list {
            check(&entry.path)?;
            let (folders, file) = match entry.path.rsplit_once('/') {
                Some((folders, file)) => (Some(folders), file),
                None => (None, entry.path.as_str()),
            };
            let mut at = 0;
            for name in folders.into_iter().flat_map(|folders| folders.split('/')) {
                at = match known.get(&(at, name)) {
                    Some(Some(folder)) => *folder,
                    Some(None) => return Err(PathError::Twice),
                    None => {
                        let ours = taken.take(at, safe(name));
                        renamed_folders.push(renamed_folders[at] || ours != name);
                        plan.folders.push(Folder { parent: at, name: ours });
                        let number = plan.folders.len() - 1;
                        known.insert((at, name), Some(number));
                        number
                    }
                };
            }
            if known.insert((at, file), None).is_some() {
                return Err(PathError::Twice);
            }
            let name = taken.take(at, safe(file));
            plan.places.push(Place {
                folder: at,
                renamed: renamed_folders[at] || name != file,
                name,
            });
        }
        Ok(plan)
    }

    /// The path of a file as it is here.
    pub(super) fn path(&self, file: usize) -> String {
        let place = &self.places[file];
        let mut names = vec![place.name.as_str()];
        let mut at = place.folder;
        while at != 0 {
            names.push(&self.folders[at].name);
            at = self.folders[at].parent;
        }
        names.reverse();
        names.join("/")
    }
}

/// Names that are given, by what systems compare that know no capitals or more than one form of an accent.
#[derive(Debug, Default)]
struct Taken {
    names: HashSet<(usize, String)>,
    /// The number that was tried last, so that a thousand files of one name do not try all numbers each.
    numbers: HashMap<(usize, String), usize>,
}

impl Taken {
    fn take(&mut self, folder: usize, name: String) -> String {
        let key = (folder, folded(&name));
        if self.names.insert(key.clone()) {
            return name;
        }
        let last = self.numbers.entry(key).or_insert(0);
        loop {
            *last += 1;
            let other = numbered(&name, *last);
            if self.names.insert((folder, folded(&other))) {
                return other;
            }
        }
    }
}

/// Without capitals, and in one form.
fn folded(name: &str) -> String {
    name.nfd()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfc()
        .collect()
}

/// `a (1).txt` after `a.txt`.
pub(super) fn numbered(name: &str, number: usize) -> String {
    match name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() => format!("{stem} ({number}).{end}"),
        _ => format!("{name} ({number})"),
    }
}

/// A name that is a plain file's or folder's on every system, and that no system hides or acts upon. The same name, if it is one.
fn safe(name: &str) -> String {
    let changed = |c: char| match c {
        '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
        c if is_unseen(c) => '_',
        c => c,
    };
    let mut safe: String = name.chars().map(changed).collect();
    // Names that begin with a dot are hidden, and many are programs' settings; one with a dash is an option to many programs; blanks
    // are not seen.
    if let Some(first) = safe
        .chars()
        .next()
        .filter(|c| matches!(c, '.' | '-' | '~') || c.is_whitespace())
    {
        safe.replace_range(..first.len_utf8(), "_");
    }
    // Windows drops dots and blanks at the end, which would make two names one.
    let kept = safe.trim_end_matches(|c: char| c == '.' || c.is_whitespace()).len();
    let end = safe[kept..].chars().count();
    safe.truncate(kept);
    safe.extend(std::iter::repeat_n('_', end));

    let compared: String = safe.nfkc().flat_map(char::to_uppercase).collect();
    let stem = compared.split('.').next().unwrap_or_default().trim_end();
    let numbered = |prefix: &str| {
        let digit = stem.strip_prefix(prefix).filter(|rest| rest.len() == 1);
        digit.is_some_and(|digit| digit.as_bytes()[0].is_ascii_digit())
    };
    if DEVICES.contains(&stem) || numbered("COM") || numbered("LPT") {
        safe.insert(0, '_');
    }
    let compared = compared.to_lowercase();
    if ACTED_UPON.contains(&compared.as_str())
        || ACTED_UPON_ENDS.iter().any(|end| compared.ends_with(end))
        || compared.ends_with(PART)
    {
        safe.push('_');
    }
    shortened(safe)
}

/// At most [`MAX_NAME`] bytes, with the end of the name that tells what it is.
fn shortened(name: String) -> String {
    if name.len() <= MAX_NAME {
        return name;
    }
    let end = name.rfind('.').map_or("", |dot| &name[dot..]);
    let end = if end.len() > 20 { "" } else { end };
    let mut stem = name[..name.len() - end.len()].to_owned();
    while stem.len() + end.len() > MAX_NAME - 1 {
        stem.pop();
    }
    format!("{stem}~{end}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(paths: &[&str]) -> Vec<Entry> {
        let entry = |path: &&str| Entry {
            path: (*path).to_owned(),
            size: 0,
        };
        paths.iter().map(entry).collect()
    }

    fn planned(paths: &[&str]) -> Result<Vec<String>, PathError> {
        let plan = Plan::new(&list(paths))?;
        Ok((0..paths.len()).map(|file| plan.path(file)).collect())
    }

    #[test]
    fn what_leads_out_is_refused() {
        for (path, error) in [
            ("", PathError::Empty),
            ("/etc/passwd", PathError::Empty),
            ("a//b", PathError::Empty),
            ("a/", PathError::Empty),
            ("..", PathError::Dots),
            ("a/../../b", PathError::Dots),
            ("./a", PathError::Dots),
        ] {
            assert_eq!(planned(&[path]), Err(error), "{path:?}");
        }
        assert_eq!(planned(&[&"a/".repeat(3000)]), Err(PathError::Long));
        assert_eq!(planned(&[&vec!["a"; 33].join("/")]), Err(PathError::Long));
    }

    #[test]
    fn mend18_odd_names_get_others() {
        for (path, ours) in [
            ("a\\..\\b", "a_.._b"),
            ("C:/x", "C_/x"),
            ("a\0b", "a_b"),
            ("a\x1b[2Jb", "a_[2Jb"),
            ("gpj.\u{202e}exe", "gpj._exe"),
            ("in\u{200b}visible\u{e0041}", "in_visible_"),
            ("a./b", "a_/b"),
            ("a /b", "a_/b"),
            ("a. . /b...", "a____/b___"),
            ("\u{a0}a", "_a"),
            (".bashrc", "_bashrc"),
            ("home/.ssh/authorized_keys", "home/_ssh/authorized_keys_"),
            ("AUTHORIZED_KEYS", "AUTHORIZED_KEYS_"),
            ("...", "___"),
            ("-rf", "_rf"),
            ("~root", "_root"),
            ("Autorun.inf", "Autorun.inf_"),
            ("x/Desktop.ini", "x/Desktop.ini_"),
            ("photos.lnk", "photos.lnk_"),
            ("photos.\u{ff4c}nk", "photos.\u{ff4c}nk_"),
            ("run.desktop/x", "run.desktop_/x"),
            ("nul", "_nul"),
            ("x/Com1.txt", "x/_Com1.txt"),
            ("COM\u{b9}", "_COM\u{b9}"),
            ("lpt\u{b3}.tar.gz", "_lpt\u{b3}.tar.gz"),
            ("conin$", "_conin$"),
            ("CON .txt", "_CON .txt"),
            ("a.bin.antiphon-part", "a.bin.antiphon-part_"),
        ] {
            let plan = Plan::new(&list(&[path])).unwrap();
            assert_eq!(plan.path(0), ours, "{path:?}");
            assert!(plan.places[0].renamed, "{path:?}");
        }
        for path in [
            "a",
            "a/b.txt",
            "ü/日本 語.tar.gz",
            "console",
            "com10",
            "e\u{301}",
            "\u{1f600}",
            "a - b",
            "x~",
        ] {
            let plan = Plan::new(&list(&[path])).unwrap();
            assert_eq!((plan.path(0).as_str(), plan.places[0].renamed), (path, false));
        }
        let long = format!("{}.txt", "ü".repeat(200));
        let ours = planned(&[&long]).unwrap();
        assert!(ours[0].len() <= MAX_NAME && ours[0].ends_with("ü~.txt"), "{ours:?}");
    }

    #[test]
    fn mend18_the_same_path_twice_is_refused() {
        for paths in [&["a", "a"][..], &["x/a", "x/b", "x/a"], &["a", "a/b"], &["a/b", "a"]] {
            assert_eq!(planned(paths), Err(PathError::Twice), "{paths:?}");
        }
    }

    #[test]
    fn mend18_names_that_some_systems_take_for_one_are_told_apart() {
        assert_eq!(
            planned(&[
                "a.txt",
                "A.TXT",
                "Dir/x",
                "dir/x",
                "dir/y",
                "é",
                "e\u{301}",
                "ß",
                "SS",
                "a\u{200b}",
                "a_"
            ])
            .unwrap(),
            [
                "a.txt",
                "A (1).TXT",
                "Dir/x",
                "dir (1)/x",
                "dir (1)/y",
                "é",
                "e\u{301} (1)",
                "ß",
                "SS (1)",
                "a_",
                "a_ (1)"
            ]
        );
        assert_eq!(
            planned(&[".a", "_a", "_a (1)"]).unwrap(),
            ["_a", "_a (1)", "_a (1) (1)"]
        );
    }

    #[test]
    fn mend18_a_hundred_thousand_names_of_one_kind_take_one_step_each() {
        // Names that all become the same one: with numbers tried from the first for each, five thousand million steps.
        let list: Vec<Entry> = (0..100_000u32)
            .map(|n| {
                let unseen = |bit: u32| if n >> bit & 1 == 1 { '\u{200b}' } else { '\u{200c}' };
                Entry {
                    path: (0..17).map(unseen).collect(),
                    size: 0,
                }
            })
            .collect();
        let plan = Plan::new(&list).unwrap();
        assert_eq!(plan.path(0), "_".repeat(17));
        assert_eq!(plan.path(99_999), format!("{} (99999)", "_".repeat(17)));
    }

    proptest! {
        #[test]
        fn every_name_is_plain_and_different(paths in prop::collection::vec("([a-bA-B.\u{200b} \\PC]{1,4}/){0,2}[a-bA-B.~\u{301} \\PC]{1,5}", 1..20)) {
            let mut paths = paths;
            paths.sort();
            paths.dedup();
            let refs: Vec<&str> = paths.iter().map(String::as_str).collect();
            if let Ok(ours) = planned(&refs) {
                let folded: HashSet<String> = ours.iter().map(|path| folded(path)).collect();
                prop_assert_eq!(folded.len(), ours.len(), "{:?}", ours);
                for name in ours.iter().flat_map(|path| path.split('/')) {
                    prop_assert!(!name.is_empty() && !name.starts_with('.') && !name.ends_with(['.', ' ']) && name.len() < 256);
                    prop_assert!(!name.chars().any(is_unseen));
                }
            }
        }
    }
}

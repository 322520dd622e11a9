//! How much one transfer may be, and what names mean trouble: the one copy of rules that the page keeps too.

use std::sync::LazyLock;

use serde::Serialize;

use crate::code;
use crate::text::is_unseen;

/// The most files in one transfer.
pub const MAX_FILES: usize = 100_000;
/// The longest that the paths of one transfer may be together, in bytes.
pub const MAX_LIST: usize = 32 * 1024 * 1024;
/// The longest path, in bytes.
pub(super) const MAX_PATH: usize = 4096;
/// The longest name of one file or folder, in bytes; what common file systems allow, less the room for a number.
pub(super) const MAX_NAME: usize = 240;
/// The most folders within folders.
pub(super) const MAX_DEPTH: usize = 32;
/// The end of the names of files that are not whole yet.
pub(super) const PART: &str = ".antiphon-part";
/// Names that some program acts upon without being asked: who may log in, what runs when a folder is opened.
pub(super) const ACTED_UPON: [&str; 7] = [
    "authorized_keys",
    "authorized_keys2",
    "autorun.inf",
    "autorun.exe",
    "autorun.sh",
    "desktop.ini",
    "folder.htt",
];
/// The ends of such names.
pub(super) const ACTED_UPON_ENDS: [&str; 12] = [
    ".appref-ms",
    ".desktop",
    ".directory",
    ".library-ms",
    ".lnk",
    ".pif",
    ".scf",
    ".search-ms",
    ".searchconnector-ms",
    ".settingcontent-ms",
    ".url",
    ".webloc",
];
/// Names that Windows keeps for devices, with any end.
pub(super) const DEVICES: [&str; 7] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"];

/// What the page is told (`/rules.json`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rules {
    max_files: usize,
    max_path: usize,
    max_depth: usize,
    max_name: usize,
    acted_upon: [&'static str; ACTED_UPON.len()],
    acted_upon_ends: Vec<&'static str>,
    devices: [&'static str; DEVICES.len()],
    /// A class of a regular expression: the characters that are not seen.
    unseen: String,
    code: code::Rule,
}

/// The rules in JSON. Names of strangers never leave the page: it is told the rules and applies them itself.
pub(crate) static RULES: LazyLock<String> = LazyLock::new(|| {
    let rules = Rules {
        max_files: MAX_FILES,
        max_path: MAX_PATH,
        max_depth: MAX_DEPTH,
        max_name: MAX_NAME,
        acted_upon: ACTED_UPON,
        acted_upon_ends: ACTED_UPON_ENDS.into_iter().chain([PART]).collect(),
        devices: DEVICES,
        unseen: unseen_class(),
        code: code::RULE,
    };
    // Strings, numbers and lists always serialise.
    serde_json::to_string(&rules).unwrap_or_default()
});

/// Every character that [`is_unseen`] knows, as ranges in brackets.
fn unseen_class() -> String {
    let mut class = "[".to_owned();
    let mut range: Option<(char, char)> = None;
    let mut close = |range: Option<(char, char)>| {
        if let Some((first, last)) = range {
            class.push_str(&format!("\\u{{{:x}}}-\\u{{{:x}}}", u32::from(first), u32::from(last)));
        }
    };
    for c in (0..=u32::from(char::MAX))
        .filter_map(char::from_u32)
        .filter(|c| is_unseen(*c))
    {
        range = match range {
            Some((first, last)) if u32::from(last) + 1 == u32::from(c) => Some((first, c)),
            before => {
                close(before);
                Some((c, c))
            }
        };
    }
    close(range);
    class.push(']');
    class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_told_all_of_it() {
        let rules: serde_json::Value = serde_json::from_str(&RULES).unwrap();
        assert_eq!(rules["maxFiles"], MAX_FILES);
        assert_eq!(rules["code"]["least"], 10);
        assert!(rules["actedUponEnds"].as_array().unwrap().contains(&PART.into()));
        let unseen = rules["unseen"].as_str().unwrap();
        for range in [
            r"\u{0}-\u{1f}",
            r"\u{ad}-\u{ad}",
            r"\u{200b}-\u{200f}",
            r"\u{10fffe}-\u{10ffff}",
        ] {
            assert!(unseen.contains(range), "{range}");
        }
    }
}

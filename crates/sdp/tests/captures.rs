//! Every captured description parses, is written back byte for byte, and holds nothing malformed.
//!
//! The selection in `conformance/fixtures/sdp` is always read; `ANTIPHON_CAPTURES` may name a larger folder.

use std::path::{Path, PathBuf};

use antiphon_sdp::{Attribute, SessionDescription};

fn descriptions() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "sdp") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/fixtures/sdp"),
        &mut found,
    );
    if let Some(more) = std::env::var_os("ANTIPHON_CAPTURES") {
        walk(Path::new(&more), &mut found);
    }
    found.sort();
    assert!(found.len() >= 30, "the fixtures are there: {}", found.len());
    found
}

#[test]
fn captures_are_written_back_byte_for_byte() {
    for path in descriptions() {
        let bytes = std::fs::read(&path).expect("a file");
        let description = SessionDescription::parse_bytes(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(description.to_text().as_bytes(), bytes, "{}", path.display());
        assert_eq!(description.text_len(), bytes.len(), "{}", path.display());

        let bare = String::from_utf8(bytes).expect("UTF-8").replace("\r\n", "\n");
        let again = SessionDescription::parse(&bare).expect("bare LF is accepted");
        assert_eq!(again.to_text(), bare, "{}", path.display());
    }
}

#[test]
fn every_attribute_of_the_captures_follows_its_grammar() {
    let mut typed = 0;
    for path in descriptions() {
        let text = std::fs::read_to_string(&path).expect("a file");
        let description = SessionDescription::parse(&text).expect("parsed above");
        let sections =
            std::iter::once(&description.session).chain(description.media.iter().map(|media| &media.section));
        for line in sections.flat_map(|section| section.lines()) {
            let Some(attribute) = line.attribute() else { continue };
            if let Attribute::Malformed { name, value } = attribute {
                panic!("{}: {name}:{value:?}", path.display());
            }
            typed += usize::from(!matches!(attribute, Attribute::Other { .. }));
            // The typed form is what is written, save for blanks that browsers put where the grammar has none.
            let written = attribute.to_string();
            assert_eq!(written.trim_end(), line.value().trim_end(), "{}", path.display());
        }
    }
    assert!(typed > 2000, "most attributes have a type: {typed}");
}

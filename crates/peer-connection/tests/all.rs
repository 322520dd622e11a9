//! All of this crate's tests of whole peers, in one program: to build and link the whole stack once for each file took
//! ten times as long as running them.

mod captured;
mod congestion;
mod data;
mod encodings;
mod forwarding;
mod header_encryption;
mod media;
mod paths;
mod security;
mod setup;
mod signaling;
mod statistics;
mod support;
mod walks;

/// A file that nobody names here would never run.
#[test]
fn every_file_is_here() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().path();
        let name = name.file_stem().unwrap().to_str().unwrap();
        let line = format!("\nmod {name};\n");
        assert!(name == "all" || include_str!("all.rs").contains(&line), "{name}");
    }
}

//! The programs in the README of the repository are parts of the examples, which compile and run.

use std::fs;
use std::path::Path;

#[test]
fn each_program_of_the_readme_is_part_of_an_example() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(here.join("../../README.md")).expect("the README can be read");
    let mut examples = String::new();
    for folder in ["examples", "examples/meet"] {
        for entry in fs::read_dir(here.join(folder)).expect("the examples are there") {
            let path = entry.expect("it can be listed").path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                examples += &fs::read_to_string(path).expect("an example can be read");
            }
        }
    }
    let programs: Vec<&str> = readme.split("```rust\n").skip(1).collect();
    assert!(programs.len() >= 5, "the README has its programs");
    for program in programs {
        let program = program.split("```").next().unwrap_or_default();
        assert!(examples.contains(program), "no example has this:\n{program}");
    }
}

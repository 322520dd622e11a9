//! Every committed corpus file through the function that its fuzz target runs, on a stable compiler.

use std::fs;
use std::path::Path;

use antiphon_conformance::fuzz::TARGETS;

#[test]
fn every_corpus_file_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, entry) in TARGETS {
        let mut files: Vec<_> = fs::read_dir(root.join(name))
            .unwrap_or_else(|error| panic!("corpus of {name}: {error}"))
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has seeds");
        for file in files {
            let data = fs::read(&file).unwrap();
            println!("{name}: {}", file.display());
            entry(&data);
            // And each of its beginnings, as if the network had cut it.
            for len in (0..data.len()).step_by(data.len() / 64 + 1) {
                entry(&data[..len]);
            }
        }
    }
}

/// The folder of fuzz targets and the table are two lists of the same.
#[test]
fn every_target_has_a_wrapper() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(root.join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

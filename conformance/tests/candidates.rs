//! Every ICE candidate that the browsers trickled in all captures, through `ice` and `sdp`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use antiphon_conformance::capture;
use antiphon_ice::{Candidate, Credentials};
use antiphon_sdp::SessionDescription;

/// Lower-cases the transport, which Firefox writes `UDP` and Chromium `udp`: RFC 8839 §5.1 takes either.
fn normal(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    words[2].make_ascii_lowercase();
    words.join(" ")
}

#[test]
fn every_candidate_is_written_as_it_was_read() {
    let text = fs::read_to_string(capture::fixtures().join("candidates.txt")).unwrap();
    let mut kinds = BTreeMap::<(String, String), usize>::new();
    for line in text.lines() {
        let candidate: Candidate = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(candidate.to_string(), normal(line));
        assert_eq!(candidate.to_string().parse(), Ok(candidate.clone()));
        // The description's own type keeps every letter.
        let value = line.strip_prefix("candidate:").unwrap();
        let in_sdp = antiphon_sdp::Candidate::parse(value).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(in_sdp.to_string(), value);
        assert_eq!((in_sdp.port, in_sdp.priority), (candidate.port, candidate.priority));
        let kind = (candidate.protocol.to_string(), candidate.kind.as_str().to_owned());
        *kinds.entry(kind).or_default() += 1;
    }
    println!("{} candidates: {kinds:?}", text.lines().count());
    assert!(text.lines().count() > 900);
}

/// Folders below `folder`, itself included, that hold trickled candidates.
fn sessions(folder: &Path, out: &mut Vec<PathBuf>) {
    if folder.join("candidates.json").exists() {
        out.push(folder.to_owned());
    }
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sessions(&path, out);
        }
    }
}

/// Fragments and passwords that the descriptions of a session name.
fn credentials(folder: &Path) -> Vec<Credentials> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sdp") {
            continue;
        }
        let description = SessionDescription::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        let sections =
            std::iter::once(&description.session).chain(description.media.iter().map(|media| &media.section));
        for section in sections {
            if let (Some(ufrag), Some(pwd)) = (section.ice_ufrag(), section.ice_pwd()) {
                found.push(Credentials::new(ufrag, pwd).unwrap());
            }
        }
    }
    found
}

#[test]
fn trickled_candidates_belong_to_the_credentials_of_their_session() {
    let mut folders = Vec::new();
    sessions(&capture::fixtures(), &mut folders);
    assert!(folders.len() >= 11, "{}", folders.len());
    let (mut candidates, mut with_fragment) = (0, 0);
    for folder in &folders {
        let credentials = credentials(folder);
        let list: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("candidates.json")).unwrap()).unwrap();
        for entry in list.as_array().unwrap() {
            let init = &entry["candidate"];
            let Some(text) = init["candidate"].as_str().filter(|text| !text.is_empty()) else {
                continue;
            };
            let candidate: Candidate = text
                .parse()
                .unwrap_or_else(|error| panic!("{}: {text}: {error}", folder.display()));
            candidates += 1;
            // The attribute of the candidate, or the field beside it (W3C RTCIceCandidateInit.usernameFragment).
            let fragment = candidate.ufrag.as_deref().or(init["usernameFragment"].as_str());
            if let Some(fragment) = fragment {
                with_fragment += 1;
                assert!(
                    credentials.iter().any(|c| c.ufrag == fragment),
                    "{}: {fragment}",
                    folder.display()
                );
            }
        }
    }
    println!(
        "{candidates} candidates in {} sessions, {with_fragment} of them name their fragment",
        folders.len()
    );
    assert!(candidates > 100 && with_fragment > 100);
}

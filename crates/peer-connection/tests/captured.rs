//! Descriptions that browsers wrote: every captured offer is answered, and every answer is one that its offerer would
//! take.

use std::path::{Path, PathBuf};

use antiphon_peer_connection::{
    ClockAnchor, Direction, Event, PeerConnection, Rng, RtcConfiguration, RtcSessionDescription, RtcSignalingState,
};

fn offers(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            offers(&path, found);
        } else if path.file_name().unwrap().to_string_lossy().contains("offer")
            && path.extension().is_some_and(|end| end == "sdp")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_captured_offer_is_answered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/fixtures/sdp");
    let mut found = Vec::new();
    offers(&folder, &mut found);
    assert!(found.len() >= 20, "{} offers", found.len());
    let now = antiphon_netsim::start();
    let mut answered = 0;
    for (seed, path) in found.iter().enumerate() {
        let sdp = std::fs::read_to_string(path).unwrap();
        let encrypted = sdp.contains("UDP/TLS/RTP/SAVPF") || !sdp.contains("m=audio");
        let anchor = ClockAnchor::new(now, Default::default());
        let mut pc = PeerConnection::new(RtcConfiguration::default(), now, anchor, Rng::from_u64(seed as u64)).unwrap();
        let name = path.display();
        let taken = pc.set_remote_description(now, RtcSessionDescription::offer(sdp.as_str()));
        if !encrypted {
            assert!(taken.is_err(), "{name} is not encrypted");
            continue;
        }
        taken.unwrap_or_else(|error| panic!("{name}: {error}"));
        let ids: Vec<_> = pc.transceivers().map(|own| own.id()).collect();
        for id in ids {
            pc.set_direction(id, Direction::SendRecv).unwrap();
        }
        pc.set_local_description(now, None)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(pc.signaling_state(), RtcSignalingState::Stable);
        let answer = pc.local_description().unwrap().sdp;
        let sections = |sdp: &str| sdp.matches("\nm=").count();
        assert_eq!(sections(&answer), sections(&sdp), "{name}");
        let tracks = std::iter::from_fn(|| pc.poll_event()).filter(|event| matches!(event, Event::Track { .. }));
        let sending = sdp.split("\nm=").skip(1).filter(|section| {
            !section.starts_with("application") && (section.contains("a=sendrecv") || section.contains("a=sendonly"))
        });
        assert!(tracks.count() <= sending.count(), "{name}");
        answered += 1;
    }
    assert!(answered >= 20, "{answered} answered");
}

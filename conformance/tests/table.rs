//! The table over the committed plaintext captures: everything in them is known, comes back byte for byte, and has the frames
//! that the browsers counted.

use antiphon_conformance::{capture, table};

fn rows() -> Vec<table::Row> {
    let files = table::captures(&[capture::fixtures().join("packets")]);
    assert!(files.len() >= 9, "the fixtures are there: {}", files.len());
    let rows = files.iter().map(|file| table::row(file).expect("it is a capture"));
    rows.collect()
}

#[test]
fn every_extension_and_rtcp_packet_is_typed_and_written_back() {
    let rows = rows();
    let text = table::render(&rows);
    println!("{text}");
    for row in &rows {
        assert!(row.holds(), "{text}");
        assert!(
            row.rtp > 100 && row.extensions > row.rtp && row.written_back > row.rtp,
            "{}",
            row.name
        );
    }
    let seen = |name| rows.iter().any(|row| row.rtcp.contains_key(name));
    assert!(
        ["SR", "RR", "SDES", "XR", "TWCC", "NACK", "PLI"].into_iter().all(seen),
        "{text}"
    );
}

#[test]
fn frames_and_key_frames_are_as_many_as_the_browsers_say() {
    let mut compared = 0;
    for row in rows() {
        // Where two of three packets are lost, what the receiver decoded says little of what the sender sent.
        if row.name.contains("loss") {
            continue;
        }
        for stream in &row.streams {
            assert!(stream.agrees() && stream.broken == 0, "{}: {stream}", row.name);
            compared += usize::from(stream.sent.is_some_and(|sent| sent.frames.is_some()));
        }
    }
    assert!(compared >= 6, "{compared} streams of video");
}

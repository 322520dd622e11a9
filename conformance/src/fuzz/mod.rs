//! What the fuzz targets run, in a place that a stable compiler reaches too: `fuzz/` wraps each entry in a target, and
//! `tests/corpus.rs` runs every committed corpus file through it.
//!
//! An entry panics if a promise is broken: that no bytes make a parser panic, that what is read is written back, that a
//! machine keeps the laws of the convention.

mod allotment;
mod cluster;
mod congestion;
mod container;
mod data_channel;
mod decode;
mod dtls;
mod ice;
mod jsep;
mod layers;
mod media;
mod pair;
mod payload;
mod peers;
mod plan_b;
mod repair;
mod router;
mod rtp;
mod sctp;
mod speakers;
mod turn;
mod turn_server;

/// A target: its name, which is its corpus folder's too, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("decode_av1", payload::decode_av1),
    ("decode_candidate", ice::decode_candidate),
    ("decode_container", container::decode_container),
    ("decode_dependency_descriptor", rtp::decode_dependency_descriptor),
    ("decode_dtls_record", dtls::decode_record),
    ("decode_fec", repair::decode_fec),
    ("decode_h264", payload::decode_h264),
    ("decode_h265", payload::decode_h265),
    ("decode_h266", payload::decode_h266),
    ("decode_handshake", dtls::decode_handshake),
    ("decode_red", repair::decode_red),
    ("decode_rtcp", decode::rtcp),
    ("decode_rtp", decode::rtp),
    ("decode_rtpdump", container::decode_rtpdump),
    ("decode_sctp", sctp::decode),
    ("decode_sdp", decode::sdp),
    ("decode_stun", decode::stun),
    ("decode_vp8", payload::decode_vp8),
    ("decode_vp9", payload::decode_vp9),
    ("layers", layers::layers),
    ("machine_allotment", allotment::machine),
    ("machine_cluster", cluster::machine),
    ("machine_congestion", congestion::machine),
    ("machine_data_channel", data_channel::machine),
    ("machine_dtls", dtls::machine),
    ("machine_dtls13", dtls::machine_13),
    ("machine_fec", repair::machine_fec),
    ("machine_ice", ice::machine),
    ("machine_jsep", jsep::machine),
    ("machine_media", media::machine),
    ("machine_peers", peers::machine),
    ("machine_plan_b", plan_b::machine),
    ("machine_sctp", sctp::machine),
    ("machine_router", router::machine),
    ("machine_speakers", speakers::machine),
    ("machine_turn", turn::machine),
    ("machine_turn_server", turn_server::machine),
    ("roundtrip_container", container::roundtrip_container),
    ("roundtrip_fec", repair::roundtrip_fec),
    ("roundtrip_rtcp", rtp::roundtrip_rtcp),
    ("roundtrip_rtp", rtp::roundtrip_rtp),
    ("roundtrip_payload", payload::roundtrip_payload),
    ("roundtrip_sdp", decode::roundtrip_sdp),
    ("roundtrip_srtp", decode::roundtrip_srtp),
    ("roundtrip_stun", decode::roundtrip_stun),
];

/// Runs a target by its name.
///
/// # Panics
/// If there is no such target, and if a promise is broken.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, entry) = target.unwrap_or_else(|| panic!("no target {name}"));
    entry(data);
}

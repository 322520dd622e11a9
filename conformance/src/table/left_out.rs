//! What looks like RTP by its first bytes and is not, or is encrypted: told by what the datagrams between two addresses have in
//! common, for one of them alone says too little.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use antiphon_rtp::packet::{Packet, is_rtcp};
use antiphon_rtp::rtcp;

use crate::capture::Datagram;

/// Datagrams of one direction from which on it can be said that they are no RTP. A burst of probes has fewer sources.
const ENOUGH: usize = 8;

/// Why datagrams are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// Cipher text or another protocol: nearly each of them would be a source of its own.
    NoRtp,
    /// SRTP: headers that can be read, and RTCP of which nothing can.
    Encrypted,
}

/// Whether a datagram is RTP or RTCP by its first byte (RFC 7983 §7).
pub(super) fn looks_like_rtp(bytes: &[u8]) -> bool {
    matches!(bytes, [128..=191, _, ..])
}

#[derive(Debug, Default)]
struct Direction {
    packets: usize,
    sources: BTreeSet<u32>,
    /// Those whose header cannot be right.
    malformed: usize,
    /// RTCP datagrams, and how many of them can be read to their end.
    compounds: usize,
    read: usize,
}

type Ends = (SocketAddr, SocketAddr);

/// What is to be left out, by source and destination.
pub(super) fn left_out(datagrams: &[Datagram]) -> BTreeMap<Ends, LeftOut> {
    let mut directions: BTreeMap<Ends, Direction> = BTreeMap::new();
    for datagram in datagrams.iter().filter(|datagram| looks_like_rtp(&datagram.payload)) {
        let direction = directions.entry((datagram.source, datagram.destination)).or_default();
        if is_rtcp(&datagram.payload) {
            direction.compounds += 1;
            direction.read += usize::from(rtcp::packets(&datagram.payload).all(|packet| packet.is_ok()));
        } else {
            direction.packets += 1;
            match Packet::parse(&datagram.payload) {
                Ok(packet) => drop(direction.sources.insert(packet.header.ssrc)),
                Err(_) => direction.malformed += 1,
            }
        }
    }
    let verdict = |(ends, direction): (&Ends, &Direction)| {
        let back = directions.get(&(ends.1, ends.0));
        let compounds = direction.compounds + back.map_or(0, |back| back.compounds);
        let read = direction.read + back.map_or(0, |back| back.read);
        let strangers = direction.sources.len() + direction.malformed;
        let no_rtp = direction.packets >= ENOUGH && strangers * 2 > direction.packets;
        let why = match (no_rtp, compounds > 0 && read == 0) {
            (true, _) => LeftOut::NoRtp,
            (false, true) => LeftOut::Encrypted,
            (false, false) => return None,
        };
        Some((*ends, why))
    };
    directions.iter().filter_map(verdict).collect()
}

//! The header extensions that speak of one hop: a sender writes them when the packet leaves, after the parity was made.

use std::ops::Range;

use crate::extension::{Kind, Map};
use crate::packet::Packet;

/// Where the times begin that the pacer and the network write into "video-timing".
const PACER_EXIT: usize = 7;

/// Where the extensions that speak of the hop stand in a packet. Chromium counts these bytes as zeros, at both ends (no
/// document says so): with anything else there a recovered packet would differ from the lost one.
pub(crate) fn parts<'a>(packet: &'a [u8], map: &'a Map) -> impl Iterator<Item = Range<usize>> + 'a {
    let elements = Packet::parse(packet).ok().map(|parsed| parsed.elements());
    elements.into_iter().flatten().filter_map(move |(id, data)| {
        let skip = skip(map.kind(id)?)?;
        let start = data.as_ptr().addr() - packet.as_ptr().addr();
        (skip < data.len()).then(|| start + skip..start + data.len())
    })
}

/// How many bytes of an extension do not speak of the hop; `None`: all of them.
fn skip(kind: Kind) -> Option<usize> {
    match kind {
        Kind::TransportCc | Kind::TransportCc2 | Kind::AbsSendTime | Kind::TransmissionOffset => Some(0),
        // What comes before are the times of the encoder, which stay.
        Kind::VideoTiming => Some(PACER_EXIT),
        _ => None,
    }
}

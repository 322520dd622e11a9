//! Opus: its header packet (RFC 7845 §5.1).

use antiphon_rtp::payload::opus::samples;

/// How long a packet plays, in samples at 48 kHz; zero if it is not one.
pub(crate) fn duration(packet: &[u8]) -> u32 {
    samples(packet).unwrap_or(0)
}

/// The header packet of a stream that was received: version 1, no samples to leave out, 48 kHz, mapping family 0.
pub(crate) fn head(channels: u16) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(channels.clamp(1, 2) as u8);
    head.extend_from_slice(&0u16.to_le_bytes());
    head.extend_from_slice(&48_000u32.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    head
}

/// Whether it is a header packet with all the fields that every one has, of a version that is compatible (RFC 7845 §5.1).
pub(crate) fn is_head(packet: &[u8]) -> bool {
    packet.len() >= 19 && packet.starts_with(b"OpusHead") && packet[8] & 0xf0 == 0 && packet[9] > 0
}

/// Samples at the start that nobody shall hear; zero without a header.
pub(crate) fn pre_skip(head: &[u8]) -> u32 {
    match (is_head(head), head.get(10..12)) {
        (true, Some(bytes)) => u32::from(u16::from_le_bytes([bytes[0], bytes[1]])),
        _ => 0,
    }
}

/// Channels that the header tells; 2 without a header.
pub(crate) fn channels(head: &[u8]) -> u16 {
    match is_head(head) {
        true => u16::from(head[9]),
        false => 2,
    }
}

/// Version, channels, pre-skip, rate, gain, mapping family: what `OpusHead` and `dOps` have in this order, with the numbers of several
/// bytes the other way round.
fn turned_round(mut fixed: [u8; 11], version: u8) -> [u8; 11] {
    fixed[0] = version;
    for number in [2..4, 4..8, 8..10] {
        fixed[number].reverse();
    }
    fixed
}

/// The header packet from the body of the box `dOps` (Encapsulation of Opus in ISO Base Media File Format §4.3.2).
pub(crate) fn head_of_dops(dops: &[u8]) -> Option<Vec<u8>> {
    let (fixed, mapping) = dops.split_first_chunk::<11>()?;
    let [0, .., family]: [u8; 11] = *fixed else { return None };
    let mut head = b"OpusHead".to_vec();
    head.extend_from_slice(&turned_round(*fixed, 1));
    if family != 0 {
        head.extend_from_slice(mapping);
    }
    is_head(&head).then_some(head)
}

/// The body of `dOps` from a header packet.
pub(crate) fn dops_of_head(head: &[u8]) -> Option<Vec<u8>> {
    let (fixed, mapping) = head.strip_prefix(b"OpusHead")?.split_first_chunk()?;
    let mut dops = turned_round(*fixed, 0).to_vec();
    if fixed[10] != 0 {
        dops.extend_from_slice(mapping);
    }
    Some(dops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_kept_in_both_forms() {
        let mut packet = head(2);
        packet[10..12].copy_from_slice(&312u16.to_le_bytes());
        let dops = dops_of_head(&packet).unwrap();
        assert_eq!(dops[2..4], 312u16.to_be_bytes());
        assert_eq!(head_of_dops(&dops).unwrap(), packet);
        assert_eq!((pre_skip(&packet), channels(&packet)), (312, 2));
        assert_eq!((pre_skip(b"OpusHead"), channels(b"")), (0, 2));
    }
}

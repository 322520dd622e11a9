//! Opus (RFC 7587): one Opus packet is one payload, the clock is always 48 kHz.

/// The RTP clock, whatever the sound's bandwidth (RFC 7587 §4.1).
pub const CLOCK_RATE: u32 = 48_000;

/// How long an Opus packet plays, in samples at 48 kHz, from its first bytes (RFC 6716 §3.1); `None` if it is not Opus.
///
/// ```
/// // CELT fullband, 20 ms, one frame.
/// assert_eq!(antiphon_rtp::payload::opus::samples(&[0xfc, 0xff]), Some(960));
/// ```
pub fn samples(packet: &[u8]) -> Option<u32> {
    let (&toc, rest) = packet.split_first()?;
    // RFC 6716 §3.1: SILK 10..60 ms, hybrid 10 or 20 ms, CELT 2.5..20 ms.
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config % 4)],
        config @ 12..=15 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3f),
    };
    let samples = frame * frames;
    // RFC 6716 §3.2.5: no packet holds more than 120 ms.
    (1..=5760).contains(&samples).then_some(samples)
}

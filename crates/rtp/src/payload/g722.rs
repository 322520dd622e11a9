//! G.722 (RFC 3551 §4.5.2, ITU-T G.722): sound of 16 kHz in 64 kbit/s. The payload is the coded bytes, nothing else; each holds
//! two samples, of which the first is in its upper half.
//!
//! ```text
//! | upper band, 2 bits | lower band, 6 bits |   one byte: 125 us, one tick of the RTP clock
//! ```

/// The RTP clock, which ticks at half the rate of the samples: an error of old that RFC 3551 §4.5.2 keeps.
pub const CLOCK_RATE: u32 = 8_000;
/// Samples a second, as they are recorded and played.
pub const SAMPLE_RATE: u32 = 16_000;

/// How long a payload plays, in ticks of the RTP clock.
///
/// ```
/// // 20 ms.
/// assert_eq!(antiphon_rtp::payload::g722::ticks(&[0; 160]), 160);
/// ```
pub fn ticks(payload: &[u8]) -> u32 {
    payload.len() as u32
}

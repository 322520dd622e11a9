//! The dictionaries that say how a transceiver sends, and what may stand in them.

use antiphon_jsep::{Codec, Extension, MediaKind};
use antiphon_media::{Priority as RtcPriorityType, Rid};

use crate::error::{EncodingError, Error};

/// How many encodings of pictures one transceiver may have. The W3C leaves the number to us, and lets us take the first ones
/// where more are asked for. Sound has one.
pub const MAX_ENCODINGS: usize = 8;

/// One stream that a transceiver sends (`RTCRtpEncodingParameters`).
#[derive(Clone, Debug, PartialEq)]
pub struct RtcRtpEncodingParameters {
    /// The name of its simulcast layer (RFC 8851 §10): 1 to 16 letters and digits. Where there are several each needs one of its
    /// own; that of a single one is dropped.
    pub rid: Option<String>,
    /// Whether it is sent once that is negotiated; frames for one that is not are refused.
    pub active: bool,
    /// How much of the bandwidth estimate it gets beside others, where there is not enough for all: sound comes before pictures, and of either
    /// kind a stream gets twice as much as one of the next lower priority (webrtc-priority).
    pub priority: RtcPriorityType,
    /// The most that it can use, in bits a second with RTP headers. A lower limit of the peer (`b=TIAS`, `b=AS`) counts too, for all
    /// encodings together. `None`: pictures use whatever there is, sound what it sends.
    pub max_bitrate: Option<u64>,
    /// With less than this, in bits a second, it is told to send nothing (ours, not the W3C's). `None`: pictures below 15 kbit/s, sound
    /// never.
    pub min_bitrate: Option<u64>,
    /// The most pictures a second that its encoder should make, 0 or more; `None`: as many as there are. It is for the
    /// application, which makes them; sound has none.
    pub max_framerate: Option<f64>,
    /// By how much its pictures are smaller in each direction than those of the track, 1.0 or more. It is for the application,
    /// which makes them; sound has none. If none of several says it, the last has 1.0 and each one before it twice as much as the next.
    pub scale_resolution_down_by: Option<f64>,
    /// The layers within this stream, as webrtc-svc names them: `L1T3`, `L3T3_KEY`, `S2T1` ... It is for the application, whose
    /// encoder makes them. `None`: as the encoder likes.
    pub scalability_mode: Option<String>,
    /// The codec that it is sent with, by a name as `set_codec_preferences` takes it: `VP8`, or
    /// `H264 packetization-mode=1;profile-level-id=42e01f`. `None`: any that is negotiated, the first by preference. One that is
    /// not negotiated any more is forgotten.
    pub codec: Option<String>,
}

impl Default for RtcRtpEncodingParameters {
    fn default() -> Self {
        Self {
            rid: None,
            active: true,
            priority: RtcPriorityType::default(),
            max_bitrate: None,
            min_bitrate: None,
            max_framerate: None,
            scale_resolution_down_by: None,
            scalability_mode: None,
            codec: None,
        }
    }
}

impl RtcRtpEncodingParameters {
    /// A simulcast layer of this name, of which nothing else is said.
    pub fn layer(rid: impl Into<String>) -> Self {
        Self {
            rid: Some(rid.into()),
            ..Self::default()
        }
    }
}

/// How a transceiver sends (`RTCRtpSendParameters`): taken by `get_parameters`, changed, and given back to `set_parameters`. Only what
/// the encodings say beside their RIDs can change; the rest is told as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct RtcRtpSendParameters {
    /// Names the `get_parameters` that this comes from: only the newest is taken back, and once.
    pub transaction_id: String,
    /// The streams that the track is sent in. Neither their number nor their order nor their RIDs can change.
    pub encodings: Vec<RtcRtpEncodingParameters>,
    /// The header extensions that are negotiated for sending; none before the first exchange.
    pub header_extensions: Vec<Extension>,
    /// What is said of RTCP.
    pub rtcp: RtcRtcpParameters,
    /// The codecs that are negotiated for sending, the one to use first; none before the first exchange.
    pub codecs: Vec<Codec>,
}

/// What is said of RTCP (`RTCRtcpParameters`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcRtcpParameters {
    /// The canonical name of all that we send (RFC 3550 §6.5.1).
    pub cname: String,
    /// Whether reports may be of reduced size (RFC 5506).
    pub reduced_size: bool,
}

/// Checks the encodings of a new transceiver by the rules of W3C `addTransceiver`, and fills in what they leave open. There is one at
/// least.
pub(crate) fn send_encodings(
    kind: MediaKind,
    mut encodings: Vec<RtcRtpEncodingParameters>,
    has_codec: impl Fn(&str) -> bool,
) -> Result<Vec<RtcRtpEncodingParameters>, Error> {
    let rids = encodings.iter().filter_map(|encoding| encoding.rid.as_deref());
    check_rids(rids)?;
    if encodings.len() > 1 && encodings.iter().any(|encoding| encoding.rid.is_none()) {
        return Err(EncodingError::RidMissing.into());
    }
    for encoding in &mut encodings {
        check(kind, encoding)?;
        if let Some(codec) = encoding.codec.as_deref().filter(|codec| !has_codec(codec)) {
            return Err(EncodingError::Codec(codec.into()).into());
        }
    }
    encodings.truncate(match kind {
        MediaKind::Audio => 1,
        MediaKind::Video => MAX_ENCODINGS,
    });
    if encodings.is_empty() {
        return Ok(vec![plain_encoding(kind)]);
    }
    if let [only] = &mut encodings[..] {
        only.rid = None;
    }
    fill_scales(kind, &mut encodings);
    Ok(encodings)
}

/// The encoding of a transceiver of which nothing else was said.
pub(crate) fn plain_encoding(kind: MediaKind) -> RtcRtpEncodingParameters {
    RtcRtpEncodingParameters {
        scale_resolution_down_by: (kind == MediaKind::Video).then_some(1.0),
        ..RtcRtpEncodingParameters::default()
    }
}

/// Encodings of these names, of which nothing else was said.
pub(crate) fn layers(rids: Vec<String>) -> Vec<RtcRtpEncodingParameters> {
    let mut layers: Vec<_> = rids.into_iter().map(RtcRtpEncodingParameters::layer).collect();
    layers.truncate(MAX_ENCODINGS);
    fill_scales(MediaKind::Video, &mut layers);
    layers
}

/// Whether these can be the RIDs of one section: each a name, and none twice.
pub(crate) fn check_rids<'a>(rids: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = Vec::new();
    for rid in rids {
        // RFC 8851 §10 knows "-" and "_" too, but RFC 8852 §3.3 does not. More than 16 do not fit into a one-byte header extension.
        if rid.is_empty() || rid.len() > Rid::MAX_LEN || !rid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(EncodingError::Rid(rid.chars().take(64).collect()).into());
        }
        if seen.contains(&rid) {
            return Err(EncodingError::RidTwice(rid.into()).into());
        }
        seen.push(rid);
    }
    Ok(())
}

/// W3C: if no encoding of pictures says a scale, each is half as large as the next. What some leave out is 1.0.
fn fill_scales(kind: MediaKind, encodings: &mut [RtcRtpEncodingParameters]) {
    if kind == MediaKind::Audio {
        return;
    }
    let none = encodings
        .iter()
        .all(|encoding| encoding.scale_resolution_down_by.is_none());
    let count = encodings.len() as i32;
    for (encoding, behind) in encodings.iter_mut().zip((0..count).rev()) {
        let scale = if none { 2_f64.powi(behind) } else { 1.0 };
        encoding.scale_resolution_down_by.get_or_insert(scale);
    }
}

/// What is checked of an encoding whenever it comes. Sound has neither scale nor frames.
pub(crate) fn check(kind: MediaKind, encoding: &mut RtcRtpEncodingParameters) -> Result<(), Error> {
    if kind == MediaKind::Audio {
        (encoding.scale_resolution_down_by, encoding.max_framerate) = (None, None);
    }
    if encoding
        .scale_resolution_down_by
        .is_some_and(|scale| !(scale.is_finite() && scale >= 1.0))
    {
        return Err(EncodingError::ScaleResolutionDownBy.into());
    }
    if encoding
        .max_framerate
        .is_some_and(|rate| !(rate.is_finite() && rate >= 0.0))
    {
        return Err(EncodingError::MaxFramerate.into());
    }
    match &encoding.scalability_mode {
        Some(mode) if !is_scalability_mode(mode) => {
            Err(EncodingError::ScalabilityMode(mode.chars().take(64).collect()).into())
        }
        _ => Ok(()),
    }
}

/// Whether webrtc-svc §6 knows a mode of that name: `L` or `S` and how many sizes, `T` and how many rates, `h`, `_KEY`, `_KEY_SHIFT`.
fn is_scalability_mode(mode: &str) -> bool {
    let Some(&[form, spatial @ b'1'..=b'3', b'T', temporal @ b'1'..=b'3']) = mode.as_bytes().get(..4) else {
        return false;
    };
    let several = spatial > b'1';
    match (form, &mode.as_bytes()[4..]) {
        (b'L', b"") => true,
        (b'S', b"") => several,
        // The larger pictures are one and a half times as large, not twice: of one size there are none.
        (b'L' | b'S', b"h") => several,
        (b'L', b"_KEY") => several,
        (b'L', b"_KEY_SHIFT") => several && temporal > b'1',
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(rids: &[&str]) -> Vec<RtcRtpEncodingParameters> {
        rids.iter().map(|rid| RtcRtpEncodingParameters::layer(*rid)).collect()
    }

    fn taken(kind: MediaKind, encodings: Vec<RtcRtpEncodingParameters>) -> Result<Vec<Option<f64>>, &'static str> {
        let taken = send_encodings(kind, encodings, |codec| codec == "VP8").map_err(|error| error.name())?;
        Ok(taken.iter().map(|own| own.scale_resolution_down_by).collect())
    }

    #[test]
    fn encodings_are_checked_as_the_w3c_says() {
        let video = |encodings| taken(MediaKind::Video, encodings);
        for wrong in ["", "@invalid", "a b", "ä", "a-b", "seventeenletters1"] {
            assert_eq!(video(named(&[wrong])), Err("TypeError"), "{wrong}");
        }
        assert_eq!(video(named(&["a", "a"])), Err("TypeError"));
        let mut one_without = named(&["a", "b"]);
        one_without[1].rid = None;
        assert_eq!(video(one_without), Err("TypeError"));
        let with = |change: fn(&mut RtcRtpEncodingParameters)| {
            let mut encodings = named(&["a", "b"]);
            change(&mut encodings[1]);
            encodings
        };
        for scale in [0.5, 0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut encodings = named(&["a", "b"]);
            encodings[1].scale_resolution_down_by = Some(scale);
            assert_eq!(video(encodings), Err("RangeError"), "{scale}");
        }
        let negative = with(|own| own.max_framerate = Some(-0.1));
        assert_eq!(video(negative.clone()), Err("RangeError"));
        let unknown = with(|own| own.codec = Some("H261".into()));
        assert_eq!(video(unknown), Err("OperationError"));
        let unknown = with(|own| own.scalability_mode = Some("L4T4".into()));
        assert_eq!(video(unknown), Err("OperationError"));
        let known = with(|own| own.codec = Some("VP8".into()));
        assert_eq!(video(known), Ok(vec![Some(2.0), Some(1.0)]));
    }

    #[test]
    fn what_is_left_open_is_filled_in() {
        let video = |encodings| taken(MediaKind::Video, encodings);
        assert_eq!(video(Vec::new()), Ok(vec![Some(1.0)]));
        assert_eq!(
            video(named(&["q", "h", "f"])),
            Ok(vec![Some(4.0), Some(2.0), Some(1.0)])
        );
        let mut some = named(&["q", "h", "f"]);
        some[0].scale_resolution_down_by = Some(8.0);
        assert_eq!(video(some), Ok(vec![Some(8.0), Some(1.0), Some(1.0)]));
        let names: Vec<String> = (0..=MAX_ENCODINGS).map(|number| number.to_string()).collect();
        let many = names.iter().map(RtcRtpEncodingParameters::layer).collect();
        assert_eq!(video(many).map(|taken| taken.len()), Ok(MAX_ENCODINGS));
        // Sound has one, and no scale, whatever was asked for.
        let mut sound = named(&["a", "b"]);
        sound[0].scale_resolution_down_by = Some(0.5);
        assert_eq!(taken(MediaKind::Audio, sound), Ok(vec![None]));
        let only = send_encodings(MediaKind::Video, named(&["only"]), |_| true).unwrap();
        assert_eq!(only[0].rid, None);
    }

    #[test]
    fn modes_of_scalability_are_those_of_webrtc_svc() {
        for known in [
            "L1T1",
            "L1T3",
            "L2T1h",
            "L3T3",
            "L3T3_KEY",
            "L2T2_KEY_SHIFT",
            "S2T1",
            "S3T3h",
        ] {
            assert!(is_scalability_mode(known), "{known}");
        }
        for unknown in [
            "",
            "L",
            "L4T1",
            "L1T4",
            "L1T2_KEY",
            "S1T1",
            "l1t1",
            "L1T1é",
            "L3T3_SHIFT",
            "S2T2_KEY",
            "aéa",
        ] {
            assert!(!is_scalability_mode(unknown), "{unknown}");
        }
    }
}

//! Which formats of two descriptions are the same codec (RFC 9429 §5.3.1, RFC 3264 §6.1).

use std::borrow::Cow;

use antiphon_sdp::{Fmtp, MediaDescription};

use crate::capabilities::{Accepts, CodecCapability};
use crate::profile::{self, Configuration};

/// How many feedback values of one payload type are looked at.
const MAX_FEEDBACK: usize = 32;

/// One format of a section.
#[derive(Debug, Clone)]
pub(crate) struct Format<'a> {
    pub(crate) payload_type: u8,
    pub(crate) name: &'a str,
    pub(crate) clock_rate: u32,
    pub(crate) channels: Option<u8>,
    pub(crate) parameters: Cow<'a, str>,
    pub(crate) feedback: Vec<&'a str>,
}

impl<'a> Format<'a> {
    /// The formats of a section in its order. Payload types beyond 127, twice named ones, and dynamic ones without
    /// `a=rtpmap` are passed over.
    pub(crate) fn of(media: &'a MediaDescription) -> Vec<Self> {
        let mut maps = [None; 128];
        for map in media.section.rtpmaps() {
            maps[usize::from(map.payload_type)].get_or_insert(map);
        }
        // RFC 8866 §6.15 allows one `a=fmtp` for a format; older peers write several, each with a part of the
        // parameters.
        let mut parameters = [const { Cow::Borrowed("") }; 128];
        for fmtp in media.section.fmtps() {
            let own: &mut Cow<'a, str> = &mut parameters[usize::from(fmtp.payload_type)];
            let more = fmtp.parameters.trim();
            if own.is_empty() {
                *own = Cow::Borrowed(more);
            } else if !more.is_empty() {
                let whole = own.to_mut();
                if !whole.trim_end().ends_with(';') {
                    whole.push(';');
                }
                whole.push_str(more);
            }
        }
        let mut place = [usize::MAX; 128];
        let mut formats: Vec<Self> = Vec::new();
        for payload_type in media.line.payload_types() {
            let index = usize::from(payload_type);
            let known = match maps[index] {
                Some(map) => Some((map.encoding, map.clock_rate, map.channels)),
                None => static_format(payload_type),
            };
            let Some((name, clock_rate, channels)) = known else {
                continue;
            };
            if place[index] == usize::MAX {
                place[index] = formats.len();
                formats.push(Self {
                    payload_type,
                    name,
                    clock_rate,
                    channels,
                    parameters: std::mem::take(&mut parameters[index]),
                    feedback: Vec::new(),
                });
            }
        }
        let mut wildcards = 0;
        for feedback in media.section.rtcp_feedback() {
            match feedback.payload_type {
                Some(payload_type) => {
                    if let Some(format) = formats.get_mut(place[usize::from(payload_type)])
                        && format.feedback.len() < MAX_FEEDBACK
                    {
                        format.feedback.push(feedback.value);
                    }
                }
                None if wildcards < MAX_FEEDBACK => {
                    wildcards += 1;
                    for format in formats.iter_mut().filter(|format| !format.is_rtx()) {
                        format.feedback.push(feedback.value);
                    }
                }
                None => {}
            }
        }
        formats
    }

    pub(crate) fn of_capability(capability: &'a CodecCapability) -> Self {
        Self {
            payload_type: capability.payload_type,
            name: &capability.name,
            clock_rate: capability.clock_rate,
            channels: capability.channels,
            parameters: Cow::Borrowed(&capability.parameters),
            feedback: capability.feedback.iter().map(String::as_str).collect(),
        }
    }

    pub(crate) fn is_rtx(&self) -> bool {
        self.name.eq_ignore_ascii_case("rtx")
    }

    /// Whether it is RED of sound, whose parameters name what it repeats.
    pub(crate) fn is_red_of_audio(&self) -> bool {
        self.name.eq_ignore_ascii_case("red") && self.clock_rate != 90_000
    }

    /// For a retransmission format: what it repeats (RFC 4588 §8.1).
    pub(crate) fn apt(&self) -> Option<u8> {
        let apt = self.parameter("apt")?.parse().ok()?;
        self.is_rtx().then_some(apt)
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let fmtp = Fmtp {
            payload_type: 0,
            parameters: &self.parameters,
        };
        fmtp.get(name)
    }

    /// Whether the two have one name, clock and number of channels.
    pub(crate) fn is_same_encoding(&self, other: &Format<'_>) -> bool {
        self.name.eq_ignore_ascii_case(other.name)
            && self.clock_rate == other.clock_rate
            && self.channels.unwrap_or(1) == other.channels.unwrap_or(1)
            && !self.is_rtx()
    }

    /// Whether the two are one codec: what one encodes, the other decodes.
    pub(crate) fn matches(&self, other: &Format<'_>) -> bool {
        self.is_same_encoding(other) && self.configuration() == other.configuration()
    }

    pub(crate) fn configuration(&self) -> Configuration {
        Configuration::of(self.name, &self.parameters)
    }
}

impl CodecCapability {
    /// Whether an offered format is taken.
    pub(crate) fn takes(&self, offered: &Format<'_>) -> bool {
        let own = Format::of_capability(self);
        own.is_same_encoding(offered)
            && match self.accepts {
                Accepts::Same => own.configuration() == offered.configuration(),
                Accepts::Any => true,
                Accepts::Decoders => offered.configuration().decodes(&own.configuration()),
            }
    }
}

/// Our format parameters in an answer to `offered`: what we wish to receive. They are our own, but the level of H.264,
/// H.265 and H.266 may have to be the lower of the two; who does not care for the configuration repeats it.
pub(crate) fn answer_parameters(capability: &CodecCapability, offered: &Format<'_>) -> String {
    // RFC 2198 §5: payload types, which are those of the offer in its answer too.
    if offered.is_red_of_audio() {
        return profile::repeated(&offered.parameters);
    }
    match (offered.configuration(), capability.accepts) {
        (Configuration::One, _) => capability.parameters.clone(),
        (Configuration::H264 { .. }, Accepts::Same) => {
            profile::with_lower_level(&capability.parameters, &offered.parameters).into_owned()
        }
        (Configuration::H265 { .. }, Accepts::Same) => {
            profile::with_lower_level_id(&capability.parameters, &offered.parameters, profile::H265_LEVEL).into_owned()
        }
        (Configuration::H266 { .. }, Accepts::Same) => {
            profile::with_lower_level_id(&capability.parameters, &offered.parameters, profile::H266_LEVEL).into_owned()
        }
        (_, Accepts::Same) => capability.parameters.clone(),
        (_, Accepts::Any | Accepts::Decoders) => profile::repeated(&offered.parameters),
    }
}

/// RFC 3551 §6, tables 4 and 5: the payload types that mean something without `a=rtpmap`.
fn static_format(payload_type: u8) -> Option<(&'static str, u32, Option<u8>)> {
    match payload_type {
        0 => Some(("PCMU", 8000, None)),
        3 => Some(("GSM", 8000, None)),
        4 => Some(("G723", 8000, None)),
        5 => Some(("DVI4", 8000, None)),
        6 => Some(("DVI4", 16_000, None)),
        7 => Some(("LPC", 8000, None)),
        8 => Some(("PCMA", 8000, None)),
        // Its clock is half of its sampling rate, by an error of RFC 1890 that is kept (RFC 3551 §4.5.2).
        9 => Some(("G722", 8000, None)),
        10 => Some(("L16", 44_100, Some(2))),
        11 => Some(("L16", 44_100, None)),
        12 => Some(("QCELP", 8000, None)),
        13 => Some(("CN", 8000, None)),
        14 => Some(("MPA", 90_000, None)),
        15 => Some(("G728", 8000, None)),
        16 => Some(("DVI4", 11_025, None)),
        17 => Some(("DVI4", 22_050, None)),
        18 => Some(("G729", 8000, None)),
        25 => Some(("CelB", 90_000, None)),
        26 => Some(("JPEG", 90_000, None)),
        28 => Some(("nv", 90_000, None)),
        31 => Some(("H261", 90_000, None)),
        32 => Some(("MPV", 90_000, None)),
        33 => Some(("MP2T", 90_000, None)),
        34 => Some(("H263", 90_000, None)),
        _ => None,
    }
}

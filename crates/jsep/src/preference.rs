//! Codec preferences (W3C `setCodecPreferences`): which codecs are to be negotiated, and in which order.

use std::borrow::Cow;

use antiphon_sdp::Fmtp;

use crate::capabilities::{Accepts, CodecCapability, MediaCapabilities};
use crate::error::JsepError;
use crate::format::Format;
use crate::plan::Codec;
use crate::types::MediaKind;

/// `VP8`, `video/VP8` or either with parameters behind a blank, taken apart.
#[derive(Debug, Clone, Copy)]
struct Preference<'a> {
    kind: Option<&'a str>,
    name: &'a str,
    parameters: &'a str,
}

impl<'a> Preference<'a> {
    fn parse(text: &'a str) -> Self {
        let (name, parameters) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let (kind, name) = match name.split_once('/') {
            Some((kind, name)) => (Some(kind), name),
            None => (None, name),
        };
        Self { kind, name, parameters }
    }

    fn is_of(&self, kind: MediaKind) -> bool {
        self.kind.is_none_or(|own| own.eq_ignore_ascii_case(kind.as_str()))
    }

    fn names(&self, format: &Format<'_>) -> bool {
        self.name.eq_ignore_ascii_case(format.name)
    }

    /// Retransmission goes with each codec that has it: W3C lists may name it, and it says nothing.
    fn is_rtx(&self) -> bool {
        self.name.eq_ignore_ascii_case("rtx")
    }
}

/// Whether a format has all of these parameters.
fn has_parameters(format: &Format<'_>, wanted: &str) -> bool {
    pairs(wanted).all(|(key, value)| format.parameter(key).is_some_and(|own| own.eq_ignore_ascii_case(value)))
}

fn pairs(parameters: &str) -> impl Iterator<Item = (&str, &str)> {
    Fmtp {
        payload_type: 0,
        parameters,
    }
    .pairs()
}

impl Codec {
    /// Whether a preference names this codec: `VP8`, `video/VP8`, or with parameters that it has,
    /// `H264 packetization-mode=1;profile-level-id=42e01f`.
    pub fn is_named(&self, preference: &str) -> bool {
        let preference = Preference::parse(preference);
        preference.name.eq_ignore_ascii_case(&self.name)
            && pairs(preference.parameters).all(|(name, value)| {
                let mut own = pairs(&self.parameters);
                own.any(|(own, has)| own.eq_ignore_ascii_case(name) && has.eq_ignore_ascii_case(value))
            })
    }
}

/// One capability that may be negotiated, and what a preference asks of its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Choice<'a> {
    pub(crate) capability: Cow<'a, CodecCapability>,
    wanted: &'a str,
}

impl Choice<'_> {
    /// Whether an offered, or once negotiated, format is one of those that this choice stands for.
    pub(crate) fn takes(&self, format: &Format<'_>) -> bool {
        self.capability.takes(format)
            && (self.capability.accepts == Accepts::Same || has_parameters(format, self.wanted))
    }
}

/// The capabilities in the order of the preferences; all of them if there are none.
pub(crate) fn choices<'a>(all: &'a [CodecCapability], preferences: &'a [String]) -> Vec<Choice<'a>> {
    let whole = |capability| Choice {
        capability: Cow::Borrowed(capability),
        wanted: "",
    };
    if preferences.is_empty() {
        return all.iter().map(whole).collect();
    }
    let mut taken = vec![false; all.len()];
    let mut chosen = Vec::new();
    for preference in preferences.iter().map(|text| Preference::parse(text)) {
        let wanted = preference.parameters;
        let before = chosen.len();
        for (capability, taken) in all.iter().zip(&mut taken) {
            let own = Format::of_capability(capability);
            if !*taken && preference.names(&own) && has_parameters(&own, wanted) {
                *taken = true;
                chosen.push(Choice {
                    wanted,
                    ..whole(capability)
                });
            }
        }
        // Any configuration is taken, so the one that the preference names is, though none is written so.
        let any = |capability: &&CodecCapability| {
            capability.accepts == Accepts::Any && preference.names(&Format::of_capability(capability))
        };
        if chosen.len() == before
            && !wanted.is_empty()
            && let Some(capability) = all.iter().find(any)
        {
            let mut named = capability.clone();
            named.parameters = overlaid(&capability.parameters, wanted);
            chosen.push(Choice {
                capability: Cow::Owned(named),
                wanted,
            });
        }
    }
    chosen
}

/// `base` with the values that `over` has.
fn overlaid(base: &str, over: &str) -> String {
    let replaced = |name: &str| pairs(over).any(|(key, _)| key.eq_ignore_ascii_case(name));
    let kept = pairs(base).filter(|(name, _)| !replaced(name));
    kept.chain(pairs(over))
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(";")
}

/// Refuses preferences that name nothing we have.
pub(crate) fn check(
    capabilities: &MediaCapabilities,
    kind: MediaKind,
    preferences: &[String],
) -> Result<(), JsepError> {
    let all = capabilities.codecs(kind);
    let has_rtx = all.iter().any(|capability| capability.rtx_payload_type.is_some());
    let unknown = |text: &str| JsepError::UnknownCodec {
        preference: text.chars().take(128).collect(),
        kind,
    };
    for text in preferences {
        let preference = Preference::parse(text);
        let known = all.iter().any(|capability| {
            let own = Format::of_capability(capability);
            preference.names(&own)
                && (capability.accepts == Accepts::Any || has_parameters(&own, preference.parameters))
        });
        if !preference.is_of(kind) || !(known || (has_rtx && preference.is_rtx())) {
            return Err(unknown(text));
        }
    }
    // W3C: what only repairs cannot be all that is left.
    match preferences.first() {
        Some(first) if preferences.iter().all(|text| Preference::parse(text).is_rtx()) => Err(unknown(first)),
        _ => Ok(()),
    }
}

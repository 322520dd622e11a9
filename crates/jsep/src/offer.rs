//! Making an offer (RFC 9429 §5.2).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use antiphon_sdp::{MediaDescription, SessionDescription, Setup};

use crate::capabilities::{self, Accepts, CodecCapability};
use crate::config::Config;
use crate::describe::{self, Common, WrittenCodec, WrittenExtension, WrittenMedia};
use crate::format::Format;
use crate::preference::choices;
use crate::profile::{self, Configuration};
use crate::state::{Created, State};
use crate::survey::Content;
use crate::transceiver::Transceiver;
use crate::types::{
    CongestionFeedbackPolicy, HeaderEncryptionPolicy, LocalTransport, MediaKind, SdpType, SignalingState, TransceiverId,
};

const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";
const DATA_PROTOCOL: &str = "UDP/DTLS/SCTP";

/// What goes into one place of the offer.
#[derive(Debug)]
enum Slot {
    Media {
        id: TransceiverId,
        mid: String,
    },
    Data {
        mid: String,
    },
    /// Nothing any more. A transceiver that stops still belongs to it until the answer.
    Rejected(Option<TransceiverId>),
}

pub(crate) fn create(state: &State, config: &Config, session_id: u64, transport: &LocalTransport) -> Created {
    let slots = layout(state);
    let mut numbers = Numbers::gather(state, config);
    let cryptex = offers_cryptex(state, config);
    let common = Common {
        config,
        transport,
        // RFC 8842 §5.2: always, in later offers too.
        setup: Setup::ActPass,
        cryptex,
        congestion_feedback: offers_congestion_feedback(state, config),
        tls_id: cryptex.then_some(state.tls_id.as_str()),
    };
    let bundle: Vec<String> = slots
        .iter()
        .filter_map(|slot| match slot {
            Slot::Media { mid, .. } | Slot::Data { mid } => Some(mid.clone()),
            Slot::Rejected(_) => None,
        })
        .collect();
    let mut description = describe::session(session_id, transport.lite, true, &bundle);
    for (index, slot) in slots.iter().enumerate() {
        // RFC 9143 §7.2.1: bundle-only until it has been accepted into the bundle.
        let accepted = state
            .current_local
            .as_ref()
            .is_some_and(|local| local.members.contains(&index));
        let bundle_only = config.bundle_only
            && !accepted
            && description
                .media
                .iter()
                .any(|media: &MediaDescription| !media.is_rejected());
        let media = match slot {
            Slot::Data { mid } => describe::data(&common, DATA_PROTOCOL, Some(mid), bundle_only),
            Slot::Media { id, mid } => match state.transceivers.iter().find(|transceiver| transceiver.id == *id) {
                Some(transceiver) => media(state, &common, &mut numbers, index, transceiver, mid, bundle_only),
                None => rejected(state, &common, index),
            },
            Slot::Rejected(_) => rejected(state, &common, index),
        };
        description.media.push(media);
    }
    let tagged = description.media.iter().position(|media| !media.is_rejected());
    describe::write_candidates(&mut description, tagged, transport);
    describe::settle_version(state, &mut description);
    let slots = slots
        .into_iter()
        .map(|slot| match slot {
            Slot::Media { id, .. } => Some(id),
            Slot::Rejected(id) => id,
            Slot::Data { .. } => None,
        })
        .collect();
    Created {
        kind: SdpType::Offer,
        description: Arc::new(description),
        slots,
    }
}

/// Whether an offer says `a=cryptex`: if that was asked for, and where it is in force already.
fn offers_cryptex(state: &State, config: &Config) -> bool {
    let in_force = || {
        let remote = state.session.transport.remote.as_ref();
        remote.is_some_and(|remote| remote.header_encryption)
    };
    match config.header_encryption {
        HeaderEncryptionPolicy::Disable => false,
        HeaderEncryptionPolicy::Accept => in_force(),
        HeaderEncryptionPolicy::Negotiate | HeaderEncryptionPolicy::Require => true,
    }
}

/// Whether an offer asks for feedback of RFC 8888: if that was asked for, and where it is in force already.
fn offers_congestion_feedback(state: &State, config: &Config) -> bool {
    match config.congestion_feedback {
        CongestionFeedbackPolicy::Disable => false,
        CongestionFeedbackPolicy::Accept => match (&state.current_local, &state.current_remote) {
            (Some(local), Some(remote)) => local.agrees_on_congestion_feedback(remote),
            _ => false,
        },
        CongestionFeedbackPolicy::Negotiate => true,
    }
}

/// The description whose places the next offer keeps.
fn base(state: &State) -> Option<&SessionDescription> {
    let pending = (state.signaling == SignalingState::HaveLocalOffer)
        .then_some(state.pending_local.as_ref())
        .flatten();
    pending
        .or(state.current_local.as_ref())
        .map(|described| &*described.text)
}

/// Which section goes where (RFC 9429 §5.2.1, §5.2.2).
fn layout(state: &State) -> Vec<Slot> {
    let sections = base(state).map_or(&[][..], |description| &description.media);
    let mut next_mid = state.next_mid;
    let mut fresh_mid = || {
        let mid = next_mid.to_string();
        next_mid += 1;
        mid
    };
    let mut free = Vec::new();
    let mut has_data = false;
    let mut slots: Vec<Slot> = Vec::new();
    for (index, media) in sections.iter().enumerate() {
        let mid = base(state).and_then(|description| state.mid_of(description, index));
        let slot = match (state.transceiver_at(index), Content::of(media)) {
            (Some(transceiver), _) if transceiver.stopping => Slot::Rejected(Some(transceiver.id)),
            (Some(transceiver), _) => Slot::Media {
                id: transceiver.id,
                mid: mid.unwrap_or_else(&mut fresh_mid),
            },
            (None, Content::Data) if !media.is_rejected() && !state.is_recyclable(index) => {
                has_data = true;
                Slot::Data {
                    mid: mid.unwrap_or_else(&mut fresh_mid),
                }
            }
            (None, _) => {
                // RFC 9429 §5.2.2: a place is free once the refusal has been through a whole exchange.
                if state.is_recyclable(index) {
                    free.push(index);
                }
                Slot::Rejected(None)
            }
        };
        slots.push(slot);
    }
    let mut free = free.into_iter();
    let mut put = |slots: &mut Vec<Slot>, slot| match free.next() {
        Some(index) => slots[index] = slot,
        None => slots.push(slot),
    };
    for transceiver in &state.transceivers {
        let waits = transceiver.state.m_line_index.is_none() && !transceiver.state.stopped && !transceiver.stopping;
        if waits {
            let mid = fresh_mid();
            put(
                &mut slots,
                Slot::Media {
                    id: transceiver.id,
                    mid,
                },
            );
        }
    }
    if state.wants_data && !has_data {
        let mid = fresh_mid();
        put(&mut slots, Slot::Data { mid });
    }
    slots
}

fn rejected(state: &State, common: &Common<'_>, index: usize) -> MediaDescription {
    let Some(old) = base(state).and_then(|description| description.media.get(index)) else {
        return describe::rejected(common, "audio", PROTOCOL, &[], None);
    };
    let formats: Vec<&str> = old.line.formats().take(128).collect();
    let (media, protocol) = (old.line.media(), old.line.protocol());
    describe::rejected(common, media, protocol, &formats, old.section.mid())
}

fn media(
    state: &State,
    common: &Common<'_>,
    numbers: &mut Numbers,
    index: usize,
    transceiver: &Transceiver,
    mid: &str,
    bundle_only: bool,
) -> MediaDescription {
    let direction = transceiver.direction();
    let negotiated: Vec<&MediaDescription> = [&state.current_remote, &state.current_local]
        .into_iter()
        .flatten()
        .filter(|_| transceiver.state.m_line_index == Some(index) && !state.is_recyclable(index))
        .filter_map(|described| described.text.media.get(index))
        .collect();
    let codecs = codecs(common.config, numbers, transceiver, &negotiated);
    let send_layers: Vec<&str> = transceiver
        .sender
        .encodings
        .iter()
        .filter_map(|encoding| encoding.rid.as_deref())
        .filter(|_| direction.sends() && transceiver.sender.encodings.len() > 1)
        .collect();
    let receive_layers = match direction.receives() {
        true => transceiver.receive_layers(),
        false => Vec::new(),
    };
    describe::media(
        common,
        &WrittenMedia {
            kind: transceiver.kind,
            protocol: PROTOCOL,
            mid: Some(mid),
            bundle_only,
            direction,
            codecs,
            extensions: numbers.extensions(common.config, transceiver.kind),
            allow_mixed: false,
            sender: &transceiver.sender,
            reduced_size_rtcp: true,
            receive_layers,
            send_layers,
        },
    )
}

/// Our codecs with the payload types they already have in this section, in the order of the last exchange; then the
/// rest.
fn codecs(
    config: &Config,
    numbers: &mut Numbers,
    transceiver: &Transceiver,
    negotiated: &[&MediaDescription],
) -> Vec<WrittenCodec> {
    let kind = transceiver.kind;
    let known: Vec<Vec<Format<'_>>> = negotiated.iter().map(|media| Format::of(media)).collect();
    let mut written: Vec<(usize, WrittenCodec)> = Vec::new();
    for choice in choices(config.capabilities.codecs(kind), &transceiver.codec_preferences) {
        let capability = &*choice.capability;
        let same = capability.accepts == Accepts::Same;
        let codec = |payload_type, parameters, rtx: Option<u8>| WrittenCodec {
            payload_type,
            name: capability.name.clone(),
            clock_rate: capability.clock_rate,
            channels: capability.channels,
            parameters,
            feedback: capability.feedback.clone(),
            rtx: rtx.filter(|_| capability.rtx_payload_type.is_some()),
        };
        let mut found = false;
        for (list, formats) in known.iter().enumerate() {
            for (place, format) in formats.iter().enumerate().filter(|(_, format)| choice.takes(format)) {
                let number = format.payload_type;
                if same && found || written.iter().any(|(_, own)| own.payload_type == number) {
                    continue;
                }
                found = true;
                let rtx = formats.iter().find(|other| other.apt() == Some(number));
                let rtx = match (rtx, capability.rtx_payload_type) {
                    (Some(rtx), _) => Some(rtx.payload_type),
                    (None, Some(wish)) => numbers.rtx(wish, number),
                    (None, None) => None,
                };
                let parameters = if same {
                    capability.parameters.clone()
                } else {
                    // What we said last of this number, else what the peer said.
                    let ours = known
                        .last()
                        .and_then(|ours| ours.iter().find(|own| own.payload_type == number));
                    profile::repeated(&ours.unwrap_or(format).parameters)
                };
                written.push((list * 1000 + place, codec(number, parameters, rtx)));
            }
        }
        // Of several capabilities that take every configuration the first has claimed those of all.
        let own = Format::of_capability(capability);
        let claimed = || {
            let configuration = own.configuration();
            written.iter().any(|(_, codec)| {
                codec.name.eq_ignore_ascii_case(own.name)
                    && (own.clock_rate, own.channels) == (codec.clock_rate, codec.channels)
                    && Configuration::of(&codec.name, &codec.parameters) == configuration
            })
        };
        if found || (!same && claimed()) {
            continue;
        }
        if let Some(number) = numbers.payload_type(kind, capability) {
            let rtx = capability.rtx_payload_type.and_then(|wish| numbers.rtx(wish, number));
            written.push((usize::MAX, codec(number, capability.parameters.clone(), rtx)));
        }
    }
    if transceiver.codec_preferences.is_empty() {
        written.sort_by_key(|(rank, _)| *rank);
    }
    let mut seen = BTreeSet::new();
    let mut written: Vec<WrittenCodec> = written
        .into_iter()
        .map(|(_, codec)| codec)
        .filter(|codec| seen.insert(codec.payload_type))
        .collect();
    name_repeated(&mut written);
    written
}

/// RFC 2198 §5: RED of sound names what it repeats, for us Opus. Without Opus there is nothing to repeat.
fn name_repeated(written: &mut Vec<WrittenCodec>) {
    let opus = written.iter().find(|codec| codec.name.eq_ignore_ascii_case("opus"));
    let opus = opus.map(|codec| codec.payload_type);
    let is_red = |codec: &WrittenCodec| codec.name.eq_ignore_ascii_case("red") && codec.clock_rate != 90_000;
    written.retain(|codec| opus.is_some() || !is_red(codec));
    if let Some(opus) = opus {
        for red in written.iter_mut().filter(|codec| is_red(codec)) {
            red.parameters = format!("{opus}/{opus}");
        }
    }
}

/// What a payload type stands for in the bundle: a number has one meaning there (RFC 9143 §9.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    Codec(MediaKind, Box<CodecCapability>),
    /// Retransmissions of another payload type.
    Rtx(u8),
    /// A codec of the peer that we do not have.
    Foreign,
}

/// The extension ids that an offer of ours may give.
const ONE_BYTE_IDS: RangeInclusive<u8> = 1..=14;

/// The payload types and extension ids in use in the bundle.
#[derive(Debug)]
struct Numbers {
    payload_types: BTreeMap<u8, Meaning>,
    extension_ids: BTreeMap<u8, String>,
}

impl Numbers {
    /// What the sections that are in force have taken, and the ids of all that ever were.
    fn gather(state: &State, config: &Config) -> Self {
        let mut numbers = Self {
            payload_types: BTreeMap::new(),
            extension_ids: state.extension_ids.clone(),
        };
        for described in [&state.current_local, &state.current_remote].into_iter().flatten() {
            for (index, media) in described.text.media.iter().enumerate() {
                let Content::Media(kind) = Content::of(media) else {
                    continue;
                };
                if state.is_recyclable(index) {
                    continue;
                }
                for format in Format::of(media) {
                    if numbers.payload_types.contains_key(&format.payload_type) {
                        continue;
                    }
                    let meaning = match format.apt() {
                        Some(apt) => Meaning::Rtx(apt),
                        None => numbers.meaning(kind, &format, config),
                    };
                    numbers.payload_types.insert(format.payload_type, meaning);
                }
            }
        }
        numbers
    }

    /// Which of our codecs a format is. A second number for one codec has no meaning of its own.
    fn meaning(&self, kind: MediaKind, format: &Format<'_>, config: &Config) -> Meaning {
        config
            .capabilities
            .codecs(kind)
            .iter()
            .find(|capability| Format::of_capability(capability).matches(format))
            .map(|capability| Meaning::Codec(kind, Box::new(capability.clone())))
            .filter(|meaning| !self.payload_types.values().any(|own| own == meaning))
            .unwrap_or(Meaning::Foreign)
    }

    fn payload_type(&mut self, kind: MediaKind, capability: &CodecCapability) -> Option<u8> {
        let meaning = Meaning::Codec(kind, Box::new(capability.clone()));
        let same = self.payload_types.iter().find(|(_, own)| **own == meaning);
        if let Some((&number, _)) = same {
            return Some(number);
        }
        self.take(capability.payload_type, meaning)
    }

    fn rtx(&mut self, wish: u8, of: u8) -> Option<u8> {
        let same = self.payload_types.iter().find(|(_, own)| **own == Meaning::Rtx(of));
        if let Some((&number, _)) = same {
            return Some(number);
        }
        self.take(wish, Meaning::Rtx(of))
    }

    /// The wished number if it is free, else a dynamic one that is (RFC 3551 §6; RFC 5761 §4 takes 64 to 95 away).
    fn take(&mut self, wish: u8, meaning: Meaning) -> Option<u8> {
        let number = std::iter::once(wish)
            .chain(96..=127)
            .chain(35..=63)
            .find(|number| *number < 128 && !self.payload_types.contains_key(number))?;
        self.payload_types.insert(number, meaning);
        Some(number)
    }

    fn extensions(&mut self, config: &Config, kind: MediaKind) -> Vec<WrittenExtension> {
        let mut written = Vec::new();
        for capability in config.capabilities.extensions(kind) {
            let same = self.extension_ids.iter().find(|(_, uri)| **uri == capability.uri);
            let id = match same {
                Some((&id, _)) => Some(id),
                // RFC 8285 §4.2: ids to 14 fit one-byte headers. Firefox refuses a whole description that has one above.
                None if ONE_BYTE_IDS.contains(&capability.id) => std::iter::once(capability.id)
                    .chain(ONE_BYTE_IDS)
                    .find(|id| !self.extension_ids.contains_key(id)),
                None => None,
            };
            let Some(id) = id else { continue };
            self.extension_ids.insert(id, capability.uri.clone());
            written.push(WrittenExtension {
                id,
                direction: None,
                uri: capability.uri.clone(),
            });
        }
        written
    }
}

/// Whether the extensions that tell simulcast layers apart are among these.
pub(crate) fn can_take_layers(extensions: &[WrittenExtension]) -> bool {
    [capabilities::MID, capabilities::RID]
        .into_iter()
        .all(|uri| extensions.iter().any(|extension| extension.uri == uri))
}

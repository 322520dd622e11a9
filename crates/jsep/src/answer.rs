//! Making an answer (RFC 9429 §5.3).

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_sdp::{Direction, ExtMap, MediaDescription, RidDirection, Section, SessionDescription, Setup};

use crate::config::Config;
use crate::congestion_feedback;
use crate::describe::{self, Common, WrittenCodec, WrittenExtension, WrittenMedia};
use crate::format::{Format, answer_parameters};
use crate::offer::can_take_layers;
use crate::parameters::{extmaps, layers};
use crate::plan::SimulcastLayer;
use crate::preference::choices;
use crate::state::{Created, Described, State};
use crate::survey::{self, Content};
use crate::transceiver::{Sender, Transceiver};
use crate::types::{CongestionFeedbackPolicy, DtlsRole, LocalTransport, MediaKind, SdpType};

pub(crate) fn create(
    state: &State,
    offer: &Described,
    config: &Config,
    session_id: u64,
    transport: &LocalTransport,
) -> Created {
    let text = &*offer.text;
    let common = Common {
        config,
        transport,
        setup: setup(state, offer),
        cryptex: state
            .session
            .transport
            .remote
            .as_ref()
            .is_some_and(|remote| remote.header_encryption),
        congestion_feedback: config.congestion_feedback != CongestionFeedbackPolicy::Disable
            && congestion_feedback::says(text, &offer.members),
        tls_id: None,
    };
    let ids = bundle_ids(text, &offer.members);
    let sections: Vec<Option<MediaDescription>> = (0..text.media.len())
        .map(|index| {
            let accepted = offer.members.contains(&index);
            accepted.then(|| section(state, &common, text, index, &ids)).flatten()
        })
        .collect();
    // Without a group in the offer there is none in the answer (RFC 9143 §7.3).
    let grouped = offer
        .tagged
        .is_some_and(|tagged| survey::bundle_of(text, tagged).is_some());
    // RFC 9143 §7.3.1: the answer's group keeps the offer's order, the tagged section first.
    let mut order: Vec<usize> = (0..sections.len()).filter(|&index| sections[index].is_some()).collect();
    order.sort_by_key(|&index| Some(index) != offer.tagged);
    let bundle: Vec<String> = order
        .iter()
        .filter(|_| grouped)
        .filter_map(|&index| text.media[index].section.mid().map(str::to_owned))
        .collect();
    let mut description = describe::session(session_id, transport.lite, text.session.extmap_allow_mixed(), &bundle);
    for (offered, section) in text.media.iter().zip(sections) {
        description.media.push(section.unwrap_or_else(|| {
            let formats: Vec<&str> = offered.line.formats().take(128).collect();
            describe::rejected(
                &common,
                offered.line.media(),
                offered.line.protocol(),
                &formats,
                offered.section.mid(),
            )
        }));
    }
    describe::write_candidates(&mut description, order.first().copied(), transport);
    describe::settle_version(state, &mut description);
    Created {
        kind: SdpType::Answer,
        slots: vec![None; description.media.len()],
        description: Arc::new(description),
    }
}

/// RFC 8842 §5.3: what the association has, else active, unless the offer leaves only passive.
fn setup(state: &State, offer: &Described) -> Setup {
    let stable = state
        .stable
        .as_ref()
        .and_then(|stable| stable.session.transport.dtls_role);
    match (
        stable,
        offer.tagged.and_then(|tagged| survey::setup(&offer.text, tagged)),
    ) {
        (Some(DtlsRole::Server), _) => Setup::Passive,
        (Some(DtlsRole::Client), _) => Setup::Active,
        (None, Some(Setup::Active)) => Setup::Passive,
        (None, _) => Setup::Active,
    }
}

/// What each extension id means in the bundle: its first meaning. A section that says otherwise does not get it.
fn bundle_ids<'a>(offer: &'a SessionDescription, members: &[usize]) -> BTreeMap<u16, &'a str> {
    let mut ids = BTreeMap::new();
    for &index in members {
        for map in extmaps(offer, index) {
            ids.entry(map.id).or_insert(map.uri);
        }
    }
    ids
}

/// The answer to one section of the bundle; `None` to refuse it.
fn section(
    state: &State,
    common: &Common<'_>,
    offer: &SessionDescription,
    index: usize,
    ids: &BTreeMap<u16, &str>,
) -> Option<MediaDescription> {
    let offered = &offer.media[index];
    let mid = offered.section.mid();
    match Content::of(offered) {
        Content::Data => Some(describe::data(common, offered.line.protocol(), mid, false)),
        Content::Unknown => None,
        Content::Media(kind) => {
            let transceiver = state
                .transceiver_at(index)
                .filter(|transceiver| !transceiver.stopping)?;
            let mut codecs = codecs(common.config, kind, transceiver, offered);
            if codecs.is_empty() {
                return None;
            }
            // RFC 9429 §5.3.1: what we want, as far as the offer has room for it.
            let direction = transceiver
                .direction()
                .intersect(offer.direction_of(offered).reversed());
            let mut extensions = extensions(common.config, kind, offer, index, ids);
            if common.congestion_feedback {
                for codec in &mut codecs {
                    codec.feedback.retain(|value| !congestion_feedback::is_replaced(value));
                }
                extensions.retain(|extension| congestion_feedback::is_used(&extension.uri, true));
            }
            let receive_layers = receive_layers(offered, &codecs, &extensions, direction);
            Some(describe::media(
                common,
                &WrittenMedia {
                    kind,
                    protocol: offered.line.protocol(),
                    mid,
                    bundle_only: false,
                    direction,
                    codecs,
                    send_layers: send_layers(&transceiver.sender, offered, &extensions, direction),
                    extensions,
                    allow_mixed: offered.section.extmap_allow_mixed(),
                    sender: &transceiver.sender,
                    reduced_size_rtcp: offered.section.rtcp_reduced_size(),
                    receive_layers,
                },
            ))
        }
    }
}

/// The offered codecs that we have, with the offerer's payload types (RFC 3264 §6.1), in its order unless the
/// application named an order of its own.
fn codecs(
    config: &Config,
    kind: MediaKind,
    transceiver: &Transceiver,
    offered: &MediaDescription,
) -> Vec<WrittenCodec> {
    let formats = Format::of(offered);
    let ours = choices(config.capabilities.codecs(kind), &transceiver.codec_preferences);
    let mut written: Vec<(usize, WrittenCodec)> = Vec::new();
    for format in &formats {
        let found = ours.iter().enumerate().find(|(_, choice)| choice.takes(format));
        let Some((rank, choice)) = found else { continue };
        let capability = &*choice.capability;
        let rtx = formats
            .iter()
            .find(|other| other.apt() == Some(format.payload_type))
            .map(|other| other.payload_type)
            .filter(|_| capability.rtx_payload_type.is_some());
        let feedback = capability
            .feedback
            .iter()
            .filter(|own| format.feedback.contains(&own.as_str()));
        let codec = WrittenCodec {
            payload_type: format.payload_type,
            name: capability.name.clone(),
            clock_rate: capability.clock_rate,
            channels: capability.channels,
            parameters: answer_parameters(capability, format),
            feedback: feedback.cloned().collect(),
            rtx,
        };
        written.push((rank, codec));
    }
    if !transceiver.codec_preferences.is_empty() {
        written.sort_by_key(|(rank, _)| *rank);
    }
    written.into_iter().map(|(_, codec)| codec).collect()
}

/// The offered extensions that we know, with the offerer's ids and the direction turned round (RFC 8285 §6).
fn extensions(
    config: &Config,
    kind: MediaKind,
    offer: &SessionDescription,
    index: usize,
    ids: &BTreeMap<u16, &str>,
) -> Vec<WrittenExtension> {
    let known = config.capabilities.extensions(kind);
    let mixed = offer.session.extmap_allow_mixed() || offer.media[index].section.extmap_allow_mixed();
    let mut written: Vec<WrittenExtension> = Vec::new();
    for map in extmaps(offer, index) {
        let usable = ids.get(&map.id) == Some(&map.uri)
            && (map.id < 15 || (mixed && map.id > 15))
            && map.direction != Some(Direction::Inactive)
            && known.iter().any(|capability| capability.uri == map.uri)
            && !written.iter().any(|own| own.uri == map.uri);
        if let (true, Ok(id)) = (usable, u8::try_from(map.id)) {
            let ExtMap { direction, uri, .. } = map;
            written.push(WrittenExtension {
                id,
                direction: direction.map(Direction::reversed),
                uri: uri.to_owned(),
            });
        }
    }
    written
}

/// The layers of the peer that we take: all, if the RID extension tells them apart (RFC 8853 §5.3.2).
fn receive_layers(
    offered: &MediaDescription,
    codecs: &[WrittenCodec],
    extensions: &[WrittenExtension],
    direction: Direction,
) -> Vec<SimulcastLayer> {
    if !direction.receives() || !can_take_layers(extensions) {
        return Vec::new();
    }
    let Some(simulcast) = offered.section.simulcast() else {
        return Vec::new();
    };
    let accepted = |number: &u8| codecs.iter().any(|codec| codec.payload_type == *number);
    layers(&offered.section, simulcast.send, RidDirection::Send)
        .into_iter()
        .filter_map(|mut layer| {
            // RFC 8851 §6.3: formats that the answer does not have go; a layer without any goes whole.
            let restricted = !layer.payload_types.is_empty();
            layer.payload_types.retain(accepted);
            (!restricted || !layer.payload_types.is_empty()).then_some(layer)
        })
        .collect()
}

/// Our layers that the peer asked for by name.
fn send_layers<'a>(
    sender: &'a Sender,
    offered: &MediaDescription,
    extensions: &[WrittenExtension],
    direction: Direction,
) -> Vec<&'a str> {
    if !direction.sends() || !can_take_layers(extensions) || sender.encodings.len() < 2 {
        return Vec::new();
    }
    let Some(simulcast) = offered.section.simulcast() else {
        return Vec::new();
    };
    let wanted = layers(&offered.section, simulcast.receive, RidDirection::Receive);
    sender
        .encodings
        .iter()
        .filter_map(|encoding| encoding.rid.as_deref())
        .filter(|rid| wanted.iter().any(|layer| layer.rid == *rid))
        .collect()
}

/// Whether the pending offer restarts ICE against what was in force before (RFC 8839 §4.4.1.1.1: other credentials).
pub(crate) fn offer_restarts_ice(state: &State) -> bool {
    let before = state
        .stable
        .as_ref()
        .and_then(|stable| stable.session.transport.remote.as_ref());
    let now = state.session.transport.remote.as_ref();
    match (before, now) {
        (Some(before), Some(now)) => before.ice != now.ice,
        _ => false,
    }
}

/// RFC 9429 §5.8: whether two sections say the same of the sender's streams.
pub(crate) fn says_msids(section: &Section, sender: &Sender) -> bool {
    let written: Vec<(&str, Option<&str>)> = section.msids().map(|msid| (msid.stream, msid.track)).collect();
    describe::msids(sender).eq(written)
}

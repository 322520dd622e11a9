//! What an offer and its answer come to, section by section: how to send, how to receive.

use std::collections::BTreeSet;

use antiphon_sdp::{Direction, ExtMap, MediaDescription, RidDirection, Section, SessionDescription};

use crate::congestion_feedback;
use crate::format::Format;
use crate::plan::{Codec, DataPlan, Extension, ReceiveParameters, ReceiveStream, Rtx, SendParameters, SimulcastLayer};
use crate::survey;

/// How many header extensions of the session level are looked at.
const MAX_SESSION_EXTMAPS: usize = 256;
/// How many announced SSRCs of one section are kept.
const MAX_STREAMS: usize = 64;
/// How many RIDs of one section are kept.
pub(crate) const MAX_RIDS: usize = 16;
/// How many streams (msid) of one section are kept.
pub(crate) const MAX_MSIDS: usize = 16;

/// One section as both sides describe it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub(crate) local: &'a SessionDescription,
    pub(crate) remote: &'a SessionDescription,
    pub(crate) index: usize,
    /// Whether feedback of RFC 8888 is agreed, for the whole transport.
    pub(crate) congestion_feedback: bool,
}

impl<'a> Pair<'a> {
    fn local_media(&self) -> &'a MediaDescription {
        &self.local.media[self.index]
    }

    fn remote_media(&self) -> &'a MediaDescription {
        &self.remote.media[self.index]
    }

    /// Whether both say it, and the peer for itself: what it has copied from us it need not understand.
    fn both(&self, says: impl Fn(&Section) -> bool) -> bool {
        let copied = survey::copies(self.local, self.remote, self.index);
        !copied
            && [(self.local, self.local_media()), (self.remote, self.remote_media())]
                .into_iter()
                .all(|(description, media)| says(&media.section) || says(&description.session))
    }

    /// The codecs to send with and to receive with, in the peer's order.
    ///
    /// Each side says with its payload types what it wants to receive (RFC 3264 §6.1), so the two may differ, though
    /// between browsers they never do.
    fn codecs(&self) -> (Vec<Codec>, Vec<Codec>) {
        let (ours, theirs) = (Format::of(self.local_media()), Format::of(self.remote_media()));
        let (mut send, mut receive): (Vec<Codec>, Vec<Codec>) = (Vec::new(), Vec::new());
        for their in theirs.iter().filter(|format| !format.is_rtx()) {
            let same = |our: &&Format<'_>| our.matches(their);
            let numbered = |our: &&Format<'_>| our.payload_type == their.payload_type;
            let same_number = |our: &&Format<'_>| numbered(our) && same(our);
            // The number says what is meant (RFC 3264 §6.1), though an answerer may describe its configuration of the
            // codec with words of its own.
            let same_encoding = |our: &&Format<'_>| numbered(our) && our.is_same_encoding(their);
            let found = ours.iter().find(same_number).or_else(|| ours.iter().find(same));
            let Some(our) = found.or_else(|| ours.iter().find(same_encoding)) else {
                continue;
            };
            if receive.iter().any(|codec| codec.payload_type == our.payload_type) {
                continue;
            }
            let feedback: Vec<String> = our
                .feedback
                .iter()
                .filter(|own| their.feedback.iter().any(|value| value == *own))
                .map(|&own| own.to_owned())
                .collect();
            let (our_rtx, their_rtx) = (rtx_of(&ours, our), rtx_of(&theirs, their));
            let both = our_rtx.is_some() && their_rtx.is_some();
            let codec = |format: &Format<'_>, sender: &Format<'_>, rtx: Option<Rtx>| {
                let mut codec = Codec {
                    payload_type: format.payload_type,
                    name: our.name.to_owned(),
                    clock_rate: our.clock_rate,
                    channels: our.channels,
                    parameters: format.parameters.clone().into_owned(),
                    sender_parameters: sender.parameters.clone().into_owned(),
                    feedback: feedback.clone(),
                    rtx: rtx.filter(|_| both),
                };
                congestion_feedback::settle_codec(&mut codec, self.congestion_feedback);
                codec
            };
            send.push(codec(their, our, their_rtx));
            receive.push(codec(our, their, our_rtx));
        }
        // They are kept as long as the connection, and nothing comes to them.
        send.shrink_to_fit();
        receive.shrink_to_fit();
        (send, receive)
    }

    /// The extensions of both sides that go one way.
    fn extensions(&self, sending: bool) -> Vec<Extension> {
        let allows = |map: &ExtMap<'_>, local: bool| {
            let direction = map.direction.unwrap_or(Direction::SendRecv);
            if sending == local {
                direction.sends()
            } else {
                direction.receives()
            }
        };
        let ours = extmaps(self.local, self.index);
        let mut both: Vec<Extension> = extmaps(self.remote, self.index)
            .into_iter()
            .filter(|theirs| {
                allows(theirs, false)
                    && ours
                        .iter()
                        .any(|own| own.id == theirs.id && own.uri == theirs.uri && allows(own, true))
            })
            .map(|map| Extension {
                id: map.id as u8,
                uri: map.uri.to_owned(),
            })
            .filter(|extension| congestion_feedback::is_used(&extension.uri, self.congestion_feedback))
            .collect();
        both.shrink_to_fit();
        both
    }

    pub(crate) fn send(&self) -> SendParameters {
        let remote = &self.remote_media().section;
        let own: Vec<&str> = rids(&self.local_media().section, RidDirection::Send);
        let wanted = remote
            .simulcast()
            .map(|simulcast| simulcast.receive)
            .unwrap_or_default();
        let simulcast = layers(remote, wanted, RidDirection::Receive)
            .into_iter()
            .filter(|layer| own.contains(&layer.rid.as_str()))
            .collect();
        let (redundancy, codecs) = self.codecs().0.into_iter().partition(Codec::is_redundancy);
        SendParameters {
            codecs,
            redundancy,
            extensions: self.extensions(true),
            extmap_allow_mixed: self.both(Section::extmap_allow_mixed),
            reduced_size_rtcp: self.both(Section::rtcp_reduced_size),
            simulcast,
            max_bitrate_bps: max_bitrate(remote),
            ptime_ms: remote.ptime(),
        }
    }

    pub(crate) fn receive(&self) -> ReceiveParameters {
        let remote = &self.remote_media().section;
        let agreed: Vec<&str> = rids(&self.local_media().section, RidDirection::Receive);
        let sent = remote.simulcast().map(|simulcast| simulcast.send).unwrap_or_default();
        let simulcast = layers(remote, sent, RidDirection::Send)
            .into_iter()
            .filter(|layer| agreed.contains(&layer.rid.as_str()))
            .collect();
        ReceiveParameters {
            codecs: self.codecs().1,
            extensions: self.extensions(false),
            streams: streams(remote, &self.local_media().section),
            simulcast,
            reduced_size_rtcp: self.both(Section::rtcp_reduced_size),
        }
    }

    pub(crate) fn data(&self, mid: String, active: bool) -> DataPlan {
        let remote = &self.remote_media().section;
        DataPlan {
            mid,
            active,
            local_port: self.local_media().section.sctp_port().unwrap_or(5000),
            remote_port: remote.sctp_port().unwrap_or(5000),
            // RFC 8841 §6.1: 64 KiB if it is not said; 0 is any size.
            remote_max_message_size: match remote.max_message_size() {
                Some(0) => None,
                Some(size) => Some(size),
                None => Some(65_536),
            },
            remote_sctp_init: remote.sctp_init().map(str::to_owned),
        }
    }
}

pub(crate) fn rtx_of(formats: &[Format<'_>], of: &Format<'_>) -> Option<Rtx> {
    let format = formats.iter().find(|format| format.apt() == Some(of.payload_type))?;
    Some(Rtx {
        payload_type: format.payload_type,
        rtx_time_ms: format.parameter("rtx-time").and_then(|text| text.parse().ok()),
    })
}

/// The `a=extmap` lines that can be used in a section: id from 1 to 255, each id once, the first meaning kept. Those of
/// the session hold for every section (RFC 8285 §8), unless the section says something else of the same id or
/// extension.
pub(crate) fn extmaps(description: &SessionDescription, index: usize) -> Vec<ExtMap<'_>> {
    let own = &description.media[index].section;
    let mut of_session = description.session.extmaps().take(MAX_SESSION_EXTMAPS).peekable();
    let mut uris = BTreeSet::new();
    if of_session.peek().is_some() {
        uris.extend(own.extmaps().map(|map| map.uri));
    }
    let mut seen = [false; 256];
    own.extmaps()
        .chain(of_session.filter(|map| !uris.contains(map.uri)))
        .filter(|map| {
            let fresh = map.id >= 1 && seen.get(usize::from(map.id)) == Some(&false);
            if fresh {
                seen[usize::from(map.id)] = true;
            }
            fresh
        })
        .collect()
}

fn rids(section: &Section, direction: RidDirection) -> Vec<&str> {
    section
        .rids()
        .filter(|rid| rid.direction == direction)
        .take(MAX_RIDS)
        .map(|rid| rid.id)
        .collect()
}

/// The layers of a simulcast list: of each the first alternative that has an `a=rid` of that direction.
pub(crate) fn layers(
    section: &Section,
    list: Vec<Vec<antiphon_sdp::SimulcastStream<'_>>>,
    direction: RidDirection,
) -> Vec<SimulcastLayer> {
    let layer = |stream: antiphon_sdp::SimulcastStream<'_>| {
        let mut rids = section.rids().take(2 * MAX_RIDS);
        let rid = rids.find(|rid| rid.id == stream.rid && rid.direction == direction)?;
        let number = |name| rid.restriction(name)?.parse().ok();
        Some(SimulcastLayer {
            rid: rid.id.to_owned(),
            paused: stream.paused,
            payload_types: rid.payload_types().take(128).collect(),
            max_bitrate: rid.restriction("max-br").and_then(|text| text.parse().ok()),
            max_framerate: rid.restriction("max-fps").and_then(|text| text.parse().ok()),
            max_width: number("max-width"),
            max_height: number("max-height"),
        })
    };
    list.into_iter()
        .take(MAX_RIDS)
        .filter_map(|alternatives| alternatives.into_iter().take(MAX_RIDS).find_map(layer))
        .collect()
}

/// `b=TIAS` is in bits per second, `b=AS` in kilobits (RFC 9429 §5.10 lets TIAS win).
fn max_bitrate(section: &Section) -> Option<u64> {
    let value = |kind: &str| {
        section
            .bandwidths()
            .find(|line| line.kind == kind)
            .map(|line| line.value)
    };
    value("TIAS").or_else(|| value("AS").and_then(|kilobits| kilobits.checked_mul(1000)))
}

/// What the peer says of its SSRCs. Ours, copied from our description, are not its.
fn streams(section: &Section, ours: &Section) -> Vec<ReceiveStream> {
    let own: BTreeSet<u32> = ours.ssrcs().map(|line| line.ssrc).collect();
    let mut streams: Vec<ReceiveStream> = Vec::new();
    let mut known = std::collections::BTreeMap::new();
    for line in section.ssrcs().filter(|line| !own.contains(&line.ssrc)) {
        let place = match known.get(&line.ssrc) {
            Some(&place) => place,
            None if streams.len() < MAX_STREAMS => {
                known.insert(line.ssrc, streams.len());
                streams.push(ReceiveStream {
                    ssrc: line.ssrc,
                    rtx_ssrc: None,
                    fec_ssrc: None,
                    layer: None,
                    cname: None,
                });
                streams.len() - 1
            }
            None => continue,
        };
        let stream: &mut ReceiveStream = &mut streams[place];
        if line.attribute == "cname" && stream.cname.is_none() {
            stream.cname = line.value.map(|text| text.chars().take(256).collect());
        }
    }
    let mut secondary = std::collections::BTreeSet::new();
    for group in section.ssrc_groups().take(MAX_STREAMS) {
        if group.semantics == "SIM" {
            for (layer, ssrc) in (0..).zip(group.ssrcs.iter().take(MAX_STREAMS)) {
                if let Some(&place) = known.get(ssrc) {
                    streams[place].layer.get_or_insert(layer);
                }
            }
            continue;
        }
        let [primary, second] = group.ssrcs[..] else {
            continue;
        };
        let Some(&place) = known.get(&primary) else {
            continue;
        };
        match group.semantics {
            "FID" => streams[place].rtx_ssrc = Some(second),
            "FEC-FR" => streams[place].fec_ssrc = Some(second),
            _ => continue,
        }
        secondary.insert(second);
    }
    streams.retain(|stream| !secondary.contains(&stream.ssrc));
    streams
}

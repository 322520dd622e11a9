//! One transceiver: what the connection keeps of it besides what signalling does, and the way from negotiated parameters to those of
//! `media`.

use std::time::{Duration, Instant};

use antiphon_jsep::{MediaKind, ReceiveParameters, SendParameters, Sender, SimulcastLayer, Transceiver, TransceiverId};
use antiphon_media::{
    Bounds, Codec, Feedback, Kind, Output, ReceiverConfig, ReceiverId, RemoteSource, Rid, SenderConfig, SenderId,
    Session, extension,
};

use super::encodings::{EncodingId, EncodingState, OutgoingEncoding};
use super::parameters::{RtcRtcpParameters, RtcRtpEncodingParameters, RtcRtpSendParameters, check, plain_encoding};
use crate::error::Error;

/// One transceiver.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: TransceiverId,
    pub(crate) kind: MediaKind,
    /// The id of the track that descriptions name; `None`: `remove_track` took it, or there never was one.
    announced: Option<String>,
    /// What `replace_track` has put in its place, of which the peer hears nothing: a track, or none.
    replaced: Option<Option<Box<str>>>,
    /// The streams that the track is sent in: one, or one for each simulcast layer.
    pub(crate) encodings: Vec<Encoding>,
    /// The first sender, while the negotiated direction lets it send. Each packet asks for it.
    pub(crate) sending: Option<SenderId>,
    /// The most that the peer wants to get, bits a second, if it says so.
    limit: Option<u64>,
    /// What `get_parameters` gave last, and may come back.
    returned: Option<Box<RtcRtpSendParameters>>,
    transactions: u64,
    pub(crate) receiver: Option<ReceiverId>,
    pub(crate) output: Output,
    /// The delay that the application wants of the receiver at least.
    pub(crate) jitter_buffer_target: Option<Duration>,
    /// The id that the peer gives the track of the receiver, if it gives one.
    pub(crate) remote_track: Option<Box<str>>,
    /// Whether the sender was ever negotiated to send: `add_track` does not take such a transceiver (W3C).
    pub(crate) has_sent: bool,
    /// Its layers are those that the peer's offer asked for.
    grown: bool,
}

/// One stream of RTP that a transceiver sends.
#[derive(Debug)]
pub(crate) struct Encoding {
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: u32,
    pub(crate) fec_ssrc: u32,
    /// The name of its simulcast layer, as it is in `wishes`.
    pub(crate) rid: Option<Rid>,
    /// What the application says of it.
    pub(crate) wishes: RtcRtpEncodingParameters,
    pub(crate) sender: Option<SenderId>,
    /// What the peer makes of it.
    pub(crate) taken: Taken,
}

/// What the peer makes of an encoding.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Taken {
    /// Nothing is negotiated, or this layer was not taken.
    No,
    /// It is to be sent without a name: there is no simulcast.
    Alone,
    /// It is to be sent as this layer, within its limits.
    Layer(Box<SimulcastLayer>),
}

impl Taken {
    fn layer(&self) -> Option<&SimulcastLayer> {
        match self {
            Self::Layer(layer) => Some(layer),
            Self::No | Self::Alone => None,
        }
    }
}

impl Row {
    pub(crate) fn new(id: TransceiverId, kind: MediaKind, track: Option<String>, output: Output) -> Self {
        Self {
            id,
            kind,
            announced: track,
            replaced: None,
            encodings: Vec::new(),
            sending: None,
            limit: None,
            returned: None,
            transactions: 0,
            receiver: None,
            output,
            jitter_buffer_target: None,
            remote_track: None,
            has_sent: false,
            grown: false,
        }
    }

    /// The id of the track that is sent, if there is one.
    pub(crate) fn track(&self) -> Option<&str> {
        match &self.replaced {
            None => self.announced.as_deref(),
            Some(track) => track.as_deref(),
        }
    }

    /// The track of the sender, in descriptions too.
    pub(crate) fn set_track(&mut self, track: Option<String>) {
        self.announced = track;
        self.replaced = None;
    }

    /// `replaceTrack`: descriptions go on to name the track that they named.
    pub(crate) fn replace_track(&mut self, track: Option<String>) {
        self.replaced = Some(track.map(String::into_boxed_str));
    }

    /// W3C: the peer's offer asks for layers by name. A sender that has no names of its own and never sent gets these; the stream that
    /// it has becomes the first of them.
    pub(crate) fn may_grow(&self) -> bool {
        let unnamed = matches!(&self.encodings[..], [only] if only.wishes.rid.is_none());
        self.kind == MediaKind::Video && unnamed && !self.has_sent
    }

    /// Its encodings have the names that an offer asked for.
    pub(crate) fn has_grown(&mut self) {
        self.grown = true;
        self.returned = None;
    }

    /// The offer that asked for layers is gone, and the layers with it. Whether there were any.
    pub(crate) fn shrink(&mut self) -> bool {
        if !std::mem::take(&mut self.grown) {
            return false;
        }
        self.encodings.truncate(1);
        for own in &mut self.encodings {
            own.rid = None;
            own.wishes = plain_encoding(self.kind);
        }
        self.returned = None;
        true
    }

    /// The name of the encoding at a place.
    pub(crate) fn encoding_id(&self, at: usize) -> EncodingId {
        EncodingId {
            transceiver: self.id,
            rid: self.encodings.get(at).and_then(|own| own.rid),
        }
    }

    /// The sender of an encoding, once there is one.
    #[inline]
    pub(crate) fn sender(&self, rid: Option<Rid>) -> Option<SenderId> {
        match rid {
            None => self
                .sending
                .or_else(|| self.encodings.iter().find_map(|own| own.sender)),
            Some(_) => self.encodings.iter().find(|own| own.rid == rid)?.sender,
        }
    }

    /// `getParameters`.
    pub(crate) fn parameters(&mut self, transceiver: Option<&Transceiver>, cname: &str) -> RtcRtpSendParameters {
        self.transactions += 1;
        let send = transceiver.and_then(Transceiver::send);
        let parameters = RtcRtpSendParameters {
            transaction_id: self.transactions.to_string(),
            encodings: self.encodings.iter().map(|own| own.wishes.clone()).collect(),
            header_extensions: send.map_or_else(Vec::new, |send| send.extensions.clone()),
            rtcp: RtcRtcpParameters {
                cname: cname.to_owned(),
                reduced_size: send.is_some_and(|send| send.reduced_size_rtcp),
            },
            codecs: send.map_or_else(Vec::new, |send| send.codecs.clone()),
        };
        self.returned = Some(Box::new(parameters.clone()));
        parameters
    }

    /// `setParameters`: checks them, and takes them all or none. Whether an encoding has another codec now.
    pub(crate) fn set_parameters(
        &mut self,
        mut parameters: RtcRtpSendParameters,
        has_codec: impl Fn(&str) -> bool,
    ) -> Result<bool, Error> {
        let returned = self.returned.as_ref().ok_or(Error::NoParameters)?;
        let fixed = |parameters: &RtcRtpSendParameters| RtcRtpSendParameters {
            encodings: Vec::new(),
            ..parameters.clone()
        };
        if fixed(&parameters) != fixed(returned) {
            return Err(Error::Parameters("more than the encodings differs"));
        }
        let rids = parameters.encodings.iter().map(|wishes| &wishes.rid);
        if !rids.eq(self.encodings.iter().map(|own| &own.wishes.rid)) {
            return Err(Error::Parameters("other encodings"));
        }
        for wishes in &mut parameters.encodings {
            check(self.kind, wishes)?;
            if wishes.codec.as_deref().is_some_and(|codec| !has_codec(codec)) {
                return Err(Error::Parameters("a codec that is not negotiated"));
            }
            if self.kind == MediaKind::Video {
                wishes.scale_resolution_down_by.get_or_insert(1.0);
            }
        }
        self.returned = None;
        let mut other_codec = false;
        for (own, wishes) in self.encodings.iter_mut().zip(parameters.encodings) {
            other_codec |= own.wishes.codec != wishes.codec;
            own.wishes = wishes;
        }
        Ok(other_codec)
    }

    /// Lets `media` do what the application and the negotiation want.
    pub(crate) fn bring_into_force(&self, now: Instant, media: &mut Session) {
        for (at, encoding) in self.encodings.iter().enumerate() {
            let Some(sender) = encoding.sender else { continue };
            let wishes = &encoding.wishes;
            let bounds = Bounds {
                priority: wishes.priority,
                min_bitrate: wishes.min_bitrate,
                max_bitrate: least([
                    wishes.max_bitrate,
                    encoding.taken.layer().and_then(|layer| layer.max_bitrate),
                    self.limit_of(at),
                ]),
            };
            // It is there as long as we know it.
            let _ = media.set_sender_active(sender, self.withheld(encoding).is_none());
            let _ = media.set_sender_bounds(now, sender, bounds);
        }
    }

    /// What an encoding may have of the peer's limit, which is for all together: by the number of its pixels.
    fn limit_of(&self, at: usize) -> Option<u64> {
        let limit = self.limit? as f64;
        let weight = |encoding: &Encoding| {
            let scale = encoding.wishes.scale_resolution_down_by.unwrap_or(1.0);
            1.0 / (scale * scale)
        };
        let sent = |encoding: &&Encoding| self.withheld(encoding).is_none();
        let all: f64 = self.encodings.iter().filter(sent).map(weight).sum();
        let own = self.encodings.get(at).filter(sent).map(weight)?;
        Some((limit * own / all) as u64)
    }

    /// Why an encoding is not sent, as far as we decide that and not the path.
    fn withheld(&self, encoding: &Encoding) -> Option<EncodingState> {
        match &encoding.taken {
            _ if self.sending.is_none() => Some(EncodingState::NotNegotiated),
            Taken::No => Some(EncodingState::NotTaken),
            _ if self.replaced == Some(None) => Some(EncodingState::NoTrack),
            _ if !encoding.wishes.active => Some(EncodingState::Inactive),
            Taken::Layer(layer) if layer.paused => Some(EncodingState::Paused),
            Taken::Layer(_) | Taken::Alone => None,
        }
    }

    /// All that who makes the frames has to know.
    pub(crate) fn outgoing<'a>(
        &'a self,
        transceiver: Option<&'a Transceiver>,
        media: &'a Session,
    ) -> impl Iterator<Item = OutgoingEncoding> + 'a {
        let send = transceiver.and_then(Transceiver::send);
        self.encodings.iter().enumerate().map(move |(at, encoding)| {
            let target_bitrate = encoding.sender.and_then(|sender| media.target_bitrate(sender));
            let ceased = encoding.sender.is_some_and(|sender| media.has_ceased(sender));
            let state = match self.withheld(encoding) {
                Some(reason) => reason,
                None if ceased => EncodingState::Ceased,
                None if target_bitrate == Some(0) => EncodingState::NoBandwidth,
                None => EncodingState::Wanted,
            };
            let (wishes, layer) = (&encoding.wishes, encoding.taken.layer());
            OutgoingEncoding {
                id: self.encoding_id(at),
                state,
                target_bitrate,
                max_framerate: least([wishes.max_framerate, layer.and_then(|layer| layer.max_framerate)]),
                max_width: layer.and_then(|layer| layer.max_width),
                max_height: layer.and_then(|layer| layer.max_height),
                scale_resolution_down_by: wishes.scale_resolution_down_by,
                scalability_mode: wishes.scalability_mode.clone(),
                codec: send
                    .and_then(|send| self.codecs(encoding, send).find(|codec| !is_beside(codec)))
                    .cloned(),
            }
        })
    }

    /// The codecs of media that an encoding may be sent with, the one to use first, and what goes beside them.
    fn codecs<'a>(
        &self,
        encoding: &'a Encoding,
        send: &'a SendParameters,
    ) -> impl Iterator<Item = &'a antiphon_jsep::Codec> + use<'a> {
        let layer = encoding.taken.layer();
        let allowed = move |codec: &antiphon_jsep::Codec| layer.is_none_or(|layer| allows(layer, codec));
        // What the peer does not take for this layer cannot be wished for.
        let named = |wish: &&str| send.codecs.iter().any(|codec| allowed(codec) && codec.is_named(wish));
        let wish = encoding.wishes.codec.as_deref().filter(named);
        send.codecs
            .iter()
            .filter(move |codec| allowed(codec) && (is_beside(codec) || wish.is_none_or(|wish| codec.is_named(wish))))
    }

    /// Takes what was negotiated for the sender; `None`: it does not send.
    pub(crate) fn negotiated(&mut self, send: Option<&SendParameters>) {
        let Some(send) = send else {
            for encoding in &mut self.encodings {
                encoding.taken = Taken::No;
            }
            return;
        };
        self.has_sent = true;
        self.limit = send.max_bitrate_bps;
        // Without simulcast one is sent, and needs no name: the first that the application wants sent.
        let alone = self.encodings.iter().position(|own| own.wishes.active).unwrap_or(0);
        for (at, encoding) in self.encodings.iter_mut().enumerate() {
            let rid = encoding.wishes.rid.as_ref();
            // A layer that is restricted to what we have no codec for is as good as not taken.
            let usable = |layer: &SimulcastLayer| {
                layer.payload_types.is_empty() || send.codecs.iter().any(|codec| allows(layer, codec))
            };
            let mut layers = send.simulcast.iter();
            let layer = layers.find(|layer| rid == Some(&layer.rid) && usable(layer));
            encoding.taken = match layer {
                Some(layer) => Taken::Layer(Box::new(layer.clone())),
                None if send.simulcast.is_empty() && at == alone => Taken::Alone,
                None => Taken::No,
            };
            // W3C: a codec that is not negotiated any more is forgotten.
            let wish = encoding.wishes.codec.take();
            encoding.wishes.codec = wish.filter(|wish| send.codecs.iter().any(|codec| codec.is_named(wish)));
        }
    }

    /// How the encoding at a place is to be sent; `None`: not at all, for the peer did not take its layer.
    pub(crate) fn sender_config(&self, at: usize, mid: &str, send: &SendParameters) -> Option<SenderConfig> {
        let encoding = self.encodings.get(at).filter(|own| own.taken != Taken::No)?;
        let rid = encoding.taken.layer().map(|layer| layer.rid.clone());
        let mut codecs: Vec<Codec> = self.codecs(encoding, send).chain(&send.redundancy).map(codec).collect();
        codecs.shrink_to_fit();
        let rtx = codecs.iter().any(|codec| codec.rtx_payload_type.is_some());
        // The SSRC of the repairs is announced for one stream alone.
        let alone = rid.is_none() && self.kind == MediaKind::Video;
        let mut extensions = extensions(&send.extensions);
        // RFC 8285 §4.1.2: both forms in one stream only for who said that it takes them.
        extensions.set_one_byte_only(!send.extmap_allow_mixed);
        Some(SenderConfig {
            mid: mid.to_owned(),
            rid,
            kind: kind(self.kind),
            ssrc: encoding.ssrc,
            rtx_ssrc: (rtx && self.kind == MediaKind::Video).then_some(encoding.rtx_ssrc),
            fec_ssrc: alone.then_some(encoding.fec_ssrc),
            codecs,
            extensions,
        })
    }

    pub(crate) fn receiver_config(&self, mid: &str, receive: &ReceiveParameters, streams: &[String]) -> ReceiverConfig {
        ReceiverConfig {
            mid: mid.to_owned(),
            kind: kind(self.kind),
            // What a receiver needs to know is what is sent: parameter sets that do not travel in band.
            codecs: receive
                .codecs
                .iter()
                .map(|received| Codec {
                    fmtp: received.sender_parameters.clone(),
                    ..codec(received)
                })
                .collect(),
            extensions: extensions(&receive.extensions),
            sources: receive
                .streams
                .iter()
                .map(|stream| RemoteSource {
                    ssrc: stream.ssrc,
                    rtx_ssrc: stream.rtx_ssrc,
                    fec_ssrc: stream.fec_ssrc,
                    layer: stream.layer,
                })
                .collect(),
            rids: receive.simulcast.iter().map(|layer| layer.rid.clone()).collect(),
            output: self.output,
            jitter_buffer_target: self.jitter_buffer_target,
            // Tracks of one stream are to be played in step (W3C mediacapture-main §4.2). One track in several is with the first.
            sync_group: streams.first().cloned(),
        }
    }

    /// What signalling says of the sender.
    pub(crate) fn signalled_sender(&self, streams: Vec<String>) -> Sender {
        let video = self.kind == MediaKind::Video;
        let encodings = self.encodings.iter().map(|encoding| antiphon_jsep::Encoding {
            rid: encoding.wishes.rid.clone(),
            ssrc: encoding.ssrc,
            rtx_ssrc: video.then_some(encoding.rtx_ssrc),
            fec_ssrc: video.then_some(encoding.fec_ssrc),
        });
        Sender {
            streams,
            track: self.announced.clone(),
            encodings: encodings.collect(),
        }
    }
}

/// Whether the peer takes a codec for a layer.
fn allows(layer: &SimulcastLayer, codec: &antiphon_jsep::Codec) -> bool {
    layer.payload_types.is_empty() || layer.payload_types.contains(&codec.payload_type)
}

/// Whether a codec goes beside that of the sound: keys of a telephone, and silence.
fn is_beside(codec: &antiphon_jsep::Codec) -> bool {
    ["telephone-event", "CN"]
        .iter()
        .any(|name| codec.name.eq_ignore_ascii_case(name))
}

/// The lowest of the limits that there are.
fn least<T: PartialOrd, const N: usize>(limits: [Option<T>; N]) -> Option<T> {
    let known = limits.into_iter().flatten();
    known.reduce(|least, limit| if limit < least { limit } else { least })
}

fn kind(kind: MediaKind) -> Kind {
    match kind {
        MediaKind::Audio => Kind::Audio,
        MediaKind::Video => Kind::Video,
    }
}

fn codec(codec: &antiphon_jsep::Codec) -> Codec {
    Codec {
        payload_type: codec.payload_type,
        name: codec.name.clone(),
        clock_rate: codec.clock_rate,
        channels: codec.channels.unwrap_or(1),
        fmtp: codec.parameters.clone(),
        rtx_payload_type: codec.rtx.map(|rtx| rtx.payload_type),
        feedback: Feedback {
            nack: codec.has_feedback("nack"),
            pli: codec.has_feedback("nack pli"),
            fir: codec.has_feedback("ccm fir"),
            remb: codec.has_feedback("goog-remb"),
            transport_cc: codec.has_feedback("transport-cc"),
            ccfb: codec.has_feedback("ack ccfb"),
        },
    }
}

fn extensions(list: &[antiphon_jsep::Extension]) -> extension::Map {
    let mut map = extension::Map::default();
    for extension in list {
        map.insert_uri(extension.id, &extension.uri);
    }
    map
}

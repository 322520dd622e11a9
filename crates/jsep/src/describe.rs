//! Writing descriptions: what an offer and an answer have in common (RFC 9429 §5.2.1, §5.3.1).

use antiphon_sdp::{
    Attribute, Direction, ExtMap, Fmtp, Group, Line, MediaDescription, MediaLine, Msid, Origin, Rid, RidDirection,
    RtcpFeedback, RtpMap, Section, SessionDescription, Setup, Simulcast, SimulcastStream, Ssrc, SsrcGroup,
};

use crate::config::Config;
use crate::congestion_feedback;
use crate::plan::SimulcastLayer;
use crate::state::State;
use crate::transceiver::Sender;
use crate::types::{LocalTransport, MediaKind};

/// A codec to be written.
#[derive(Debug, Clone)]
pub(crate) struct WrittenCodec {
    pub(crate) payload_type: u8,
    pub(crate) name: String,
    pub(crate) clock_rate: u32,
    pub(crate) channels: Option<u8>,
    pub(crate) parameters: String,
    pub(crate) feedback: Vec<String>,
    pub(crate) rtx: Option<u8>,
}

/// A header extension to be written.
#[derive(Debug, Clone)]
pub(crate) struct WrittenExtension {
    pub(crate) id: u8,
    pub(crate) direction: Option<Direction>,
    pub(crate) uri: String,
}

/// What is common to all sections of one description.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common<'a> {
    pub(crate) config: &'a Config,
    pub(crate) transport: &'a LocalTransport,
    pub(crate) setup: Setup,
    /// Whether sections have `a=cryptex`.
    pub(crate) cryptex: bool,
    /// Whether sections for media ask for congestion control feedback (RFC 8888).
    pub(crate) congestion_feedback: bool,
    /// In offers that ask for more than older peers know: `a=tls-id` (RFC 8842 §4), by which it shows whether an answer
    /// is copied.
    pub(crate) tls_id: Option<&'a str>,
}

/// A media section to be written.
#[derive(Debug)]
pub(crate) struct WrittenMedia<'a> {
    pub(crate) kind: MediaKind,
    pub(crate) protocol: &'a str,
    pub(crate) mid: Option<&'a str>,
    pub(crate) bundle_only: bool,
    pub(crate) direction: Direction,
    pub(crate) codecs: Vec<WrittenCodec>,
    pub(crate) extensions: Vec<WrittenExtension>,
    /// Whether the section itself says that both forms of header extensions may be mixed (RFC 8285 §6).
    pub(crate) allow_mixed: bool,
    pub(crate) sender: &'a Sender,
    pub(crate) reduced_size_rtcp: bool,
    /// Layers that we take from the peer.
    pub(crate) receive_layers: Vec<SimulcastLayer>,
    /// Layers that we send.
    pub(crate) send_layers: Vec<&'a str>,
}

/// The session level. The version is one more than that of the last description that was set, unless nothing changed
/// since (RFC 3264 §8): see [`settle_version`].
///
/// `allow_mixed`: whether one-byte and two-byte header extensions may be mixed, which only an offer can begin (RFC 8285 §6).
pub(crate) fn session(session_id: u64, lite: bool, allow_mixed: bool, bundle: &[String]) -> SessionDescription {
    let mut description = SessionDescription::new(&Origin {
        username: "-",
        session_id: &session_id.to_string(),
        session_version: "0",
        network_type: "IN",
        address_type: "IP4",
        address: "127.0.0.1",
    });
    let section = &mut description.session;
    if !bundle.is_empty() {
        section.add(&Attribute::Group(Group::new("BUNDLE", &bundle.join(" "))));
    }
    if allow_mixed {
        section.add_flag("extmap-allow-mixed");
    }
    section.add_value("msid-semantic", "WMS *");
    if lite {
        section.add_flag("ice-lite");
    }
    description
}

/// Gives the description its version.
pub(crate) fn settle_version(state: &State, description: &mut SessionDescription) {
    let Some(session_id) = description.origin().map(|origin| origin.session_id.to_owned()) else {
        return;
    };
    let set_version = |description: &mut SessionDescription, version: u64| {
        description.set_origin(&Origin {
            username: "-",
            session_id: &session_id,
            session_version: &version.to_string(),
            network_type: "IN",
            address_type: "IP4",
            address: "127.0.0.1",
        });
    };
    let last = state.local().map(|last| &*last.text);
    if let Some(last) = last.filter(|last| says_the_same(last, description)) {
        let version = last.origin().and_then(|origin| origin.version()).unwrap_or(0);
        set_version(description, version);
        return;
    }
    set_version(description, state.version + 1);
}

/// Whether two descriptions of ours differ in nothing but their version and what was gathered.
fn says_the_same(one: &SessionDescription, other: &SessionDescription) -> bool {
    let said = |line: &&Line| {
        let gathered = matches!(
            line.name_and_value(),
            Some(("candidate", _) | ("end-of-candidates", None))
        );
        line.letter() != 'o' && !gathered
    };
    let same = |one: &Section, other: &Section| {
        let other = other.lines().iter().filter(said);
        one.lines().iter().filter(said).eq(other)
    };
    same(&one.session, &other.session)
        && one.media.len() == other.media.len()
        && one
            .media
            .iter()
            .zip(&other.media)
            .all(|(one, other)| one.line == other.line && same(&one.section, &other.section))
}

/// Enters what is gathered into the tagged section (RFC 9143 §7.1).
pub(crate) fn write_candidates(
    description: &mut SessionDescription,
    tagged: Option<usize>,
    transport: &LocalTransport,
) {
    if let Some(media) = tagged.and_then(|index| description.media.get_mut(index)) {
        for candidate in &transport.candidates {
            let value = candidate.strip_prefix("candidate:").unwrap_or(candidate);
            media.section.add_value("candidate", value);
        }
        if transport.end_of_candidates {
            media.section.add_flag("end-of-candidates");
        }
    }
}

fn port(bundle_only: bool) -> u16 {
    // Port 9 until there are candidates (RFC 8840 §4.1.1).
    if bundle_only { 0 } else { 9 }
}

fn connection() -> Line {
    Line::new('c', "IN IP4 0.0.0.0")
}

/// ICE, DTLS and mid. Every section has them, though in a bundle the tagged one's count: so do both browsers, and older
/// peers read them there.
fn write_transport(section: &mut Section, common: &Common<'_>, mid: Option<&str>, bundle_only: bool) {
    let transport = common.transport;
    section.add(&Attribute::IceUfrag(&transport.ufrag));
    section.add(&Attribute::IcePwd(&transport.pwd));
    let options = match transport.ice_options.as_slice() {
        [] => "trickle ice2".to_owned(),
        words => words.join(" "),
    };
    section.add(&Attribute::IceOptions(&options));
    for fingerprint in &transport.fingerprints {
        section.add_value("fingerprint", fingerprint);
    }
    section.add(&Attribute::Setup(common.setup));
    if let Some(tls_id) = common.tls_id {
        section.add(&Attribute::TlsId(tls_id));
    }
    if let Some(mid) = mid {
        section.add(&Attribute::Mid(mid));
    }
    if bundle_only {
        section.add_flag("bundle-only");
    }
    // RFC 9335 §4: in one section of a bundle means in all of them.
    if common.cryptex {
        section.add_flag("cryptex");
    }
}

/// A refused section, in the shape of what it refuses (RFC 9429 §5.3.1).
///
/// It has the transport's attributes like the others, as Chromium writes it: nobody needs them, but GStreamer's
/// webrtcbin looks for a fingerprint, `a=setup` and ICE credentials in every section, and refuses the whole description
/// without.
pub(crate) fn rejected(
    common: &Common<'_>,
    media: &str,
    protocol: &str,
    formats: &[&str],
    mid: Option<&str>,
) -> MediaDescription {
    let formats = if formats.is_empty() { &["0"] } else { formats };
    let mut description = MediaDescription::new(MediaLine::new(media, 0, protocol, formats.iter().copied()));
    description.section.push(connection());
    let refused = Common {
        cryptex: false,
        tls_id: None,
        ..*common
    };
    write_transport(&mut description.section, &refused, mid, false);
    description.section.add(&Attribute::Direction(Direction::Inactive));
    description
}

/// The data section (RFC 8841 §9).
pub(crate) fn data(common: &Common<'_>, protocol: &str, mid: Option<&str>, bundle_only: bool) -> MediaDescription {
    let line = MediaLine::new("application", port(bundle_only), protocol, ["webrtc-datachannel"]);
    let mut description = MediaDescription::new(line);
    let section = &mut description.section;
    section.push(connection());
    write_transport(section, common, mid, bundle_only);
    section.add(&Attribute::SctpPort(common.config.sctp_port));
    section.add(&Attribute::MaxMessageSize(common.config.max_message_size));
    description
}

/// An audio or video section.
pub(crate) fn media(common: &Common<'_>, written: &WrittenMedia<'_>) -> MediaDescription {
    let numbers: Vec<String> = written
        .codecs
        .iter()
        .flat_map(|codec| [Some(codec.payload_type), codec.rtx])
        .flatten()
        .map(|payload_type| payload_type.to_string())
        .collect();
    let line = MediaLine::new(
        written.kind.as_str(),
        port(written.bundle_only),
        written.protocol,
        numbers.iter().map(String::as_str),
    );
    let mut description = MediaDescription::new(line);
    let section = &mut description.section;
    section.push(connection());
    section.add_value("rtcp", "9 IN IP4 0.0.0.0");
    write_transport(section, common, written.mid, written.bundle_only);
    if written.allow_mixed {
        section.add_flag("extmap-allow-mixed");
    }
    for extension in &written.extensions {
        section.add(&Attribute::ExtMap(ExtMap {
            id: u16::from(extension.id),
            direction: extension.direction,
            uri: &extension.uri,
            attributes: None,
        }));
    }
    section.add(&Attribute::Direction(written.direction));
    if written.direction.sends() {
        for (stream, track) in msids(written.sender) {
            section.add(&Attribute::Msid(Msid { stream, track }));
        }
    }
    section.add_flag("rtcp-mux");
    if written.reduced_size_rtcp {
        section.add_flag("rtcp-rsize");
    }
    for codec in &written.codecs {
        write_codec(section, codec);
    }
    if common.congestion_feedback {
        congestion_feedback::write(section);
    }
    write_simulcast(section, written);
    if written.direction.sends() && written.send_layers.is_empty() {
        write_sources(section, written, &common.config.cname);
    }
    description
}

/// The streams and the track of a sender as `a=msid` has them; "-" is no stream (RFC 8830 §2). RFC 9429 §5.2.1 leaves
/// the track away; browsers write it, and older peers look for it: it stands there if there is one.
pub(crate) fn msids(sender: &Sender) -> impl Iterator<Item = (&str, Option<&str>)> {
    let track = sender.track.as_deref().filter(|track| !track.is_empty());
    let none = sender.streams.is_empty().then_some(("-", track));
    sender
        .streams
        .iter()
        .map(move |stream| (stream.as_str(), track))
        .chain(none)
}

fn write_codec(section: &mut Section, codec: &WrittenCodec) {
    section.add(&Attribute::RtpMap(RtpMap {
        payload_type: codec.payload_type,
        encoding: &codec.name,
        clock_rate: codec.clock_rate,
        channels: codec.channels,
    }));
    for value in &codec.feedback {
        section.add(&Attribute::RtcpFeedback(RtcpFeedback {
            payload_type: Some(codec.payload_type),
            value,
        }));
    }
    if !codec.parameters.is_empty() {
        section.add(&Attribute::Fmtp(Fmtp {
            payload_type: codec.payload_type,
            parameters: &codec.parameters,
        }));
    }
    if let Some(rtx) = codec.rtx {
        section.add(&Attribute::RtpMap(RtpMap {
            payload_type: rtx,
            encoding: "rtx",
            clock_rate: codec.clock_rate,
            channels: None,
        }));
        section.add(&Attribute::Fmtp(Fmtp {
            payload_type: rtx,
            parameters: &format!("apt={}", codec.payload_type),
        }));
    }
}

/// RFC 8853 §5.2, §5.3.
fn write_simulcast(section: &mut Section, written: &WrittenMedia<'_>) {
    if written.send_layers.is_empty() && written.receive_layers.is_empty() {
        return;
    }
    let stream = |rid| vec![SimulcastStream { rid, paused: false }];
    for id in &written.send_layers {
        section.add(&Attribute::Rid(Rid {
            id,
            direction: RidDirection::Send,
            parameters: None,
        }));
    }
    for layer in &written.receive_layers {
        let numbers: Vec<String> = layer.payload_types.iter().map(u8::to_string).collect();
        let restriction = (!numbers.is_empty()).then(|| format!("pt={}", numbers.join(",")));
        section.add(&Attribute::Rid(Rid {
            id: &layer.rid,
            direction: RidDirection::Receive,
            parameters: restriction.as_deref(),
        }));
    }
    section.add(&Attribute::Simulcast(Simulcast {
        send: written.send_layers.iter().copied().map(stream).collect(),
        receive: written
            .receive_layers
            .iter()
            .map(|layer| stream(layer.rid.as_str()))
            .collect(),
    }));
}

/// Whether its packets are a stream of their own that protects another.
fn is_flexfec(codec: &WrittenCodec) -> bool {
    ["flexfec-03", "flexfec"]
        .iter()
        .any(|name| codec.name.eq_ignore_ascii_case(name))
}

/// `a=ssrc` lines (RFC 5576). JSEP does without, but the browsers pair a stream with its retransmissions by them.
fn write_sources(section: &mut Section, written: &WrittenMedia<'_>, cname: &str) {
    let Some(encoding) = written.sender.encodings.first() else {
        return;
    };
    let rtx = encoding
        .rtx_ssrc
        .filter(|_| written.codecs.iter().any(|codec| codec.rtx.is_some()));
    if let Some(rtx) = rtx {
        section.add(&Attribute::SsrcGroup(SsrcGroup {
            semantics: "FID",
            ssrcs: vec![encoding.ssrc, rtx],
        }));
    }
    // RFC 5956 §4.3. One protected stream alone: Chromium takes no other.
    let fec = encoding.fec_ssrc.filter(|_| written.codecs.iter().any(is_flexfec));
    if let Some(fec) = fec {
        section.add(&Attribute::SsrcGroup(SsrcGroup {
            semantics: "FEC-FR",
            ssrcs: vec![encoding.ssrc, fec],
        }));
    }
    for ssrc in [Some(encoding.ssrc), rtx, fec].into_iter().flatten() {
        section.add(&Attribute::Ssrc(Ssrc {
            ssrc,
            attribute: "cname",
            value: Some(cname),
        }));
        if let Some((stream, Some(track))) = msids(written.sender).next() {
            section.add(&Attribute::Ssrc(Ssrc {
                ssrc,
                attribute: "msid",
                value: Some(&format!("{stream} {track}")),
            }));
        }
    }
}

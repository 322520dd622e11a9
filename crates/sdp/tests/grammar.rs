//! The grammar's edges, and the promise that no text makes the parser fall over.

use antiphon_sdp::{
    Attribute, Candidate, Direction, ErrorKind, ExtMap, Fingerprint, Fmtp, Group, Line, MediaDescription, MediaLine,
    Msid, Origin, Rid, RtcpFeedback, RtpMap, Section, SessionDescription, Setup, Simulcast, Ssrc, SsrcGroup,
};
use proptest::prelude::*;

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

fn section(lines: &str) -> Section {
    let text = format!("{HEAD}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n{lines}");
    let mut description = SessionDescription::parse(&text).expect("parses");
    assert_eq!(description.to_text(), text);
    description.media.remove(0).section
}

#[test]
fn what_is_not_sdp_is_refused_with_its_line() {
    for (text, line, kind) in [
        ("", 1, ErrorKind::Version),
        ("v=1\r\n", 1, ErrorKind::Version),
        ("o=- 1 2 IN IP4 0.0.0.0\r\n", 1, ErrorKind::Version),
        ("v=0\r\n", 2, ErrorKind::Origin),
        ("v=0\r\ns=-\r\n", 2, ErrorKind::Origin),
        ("v=0\r\no=- 1 2 IN IP4 x\r\nt=0 0\r\n", 3, ErrorKind::SessionName),
        (
            "v=0\r\no=- 1 2 IN IP4 x\r\ns=-\r\nm=audio 65536 X 0\r\n",
            4,
            ErrorKind::Media,
        ),
        ("v=0\r\no=- 1 2 IN IP4 x\r\ns=-\r\nm=audio 9 X\r\n", 4, ErrorKind::Media),
        (
            "v=0\r\no=- 1 2 IN IP4 x\r\ns=-\r\nm=audio -1 X 0\r\n",
            4,
            ErrorKind::Media,
        ),
        ("v=0\r\no=- 1 2 IN IP4 x\r\ns=-\r\nhello\r\n", 4, ErrorKind::Line),
        ("v=0\r\no=- 1 2 IN IP4 x\r\ns=-\r\na=x\ry\r\n", 4, ErrorKind::Line),
        ("v=0\r\no=- 1 2 IN IP4 x\r\ns=-\r\n\r\na=x\r\n", 4, ErrorKind::Line),
    ] {
        let error = SessionDescription::parse(text).expect_err(text);
        assert_eq!((error.line, error.kind), (line, kind), "{text:?}");
    }
    assert_eq!(
        SessionDescription::parse_bytes(b"v=0\r\no=\xff").unwrap_err().kind,
        ErrorKind::NotText
    );
}

#[test]
fn leniency_is_reproduced() {
    for text in [
        "v=0\no=- 1 2 IN IP4 x\ns=WebRTC Session with a name\nt=0 0\n",
        "v=0\r\no=- 1 2 IN IP4 x\r\ns= \r\nt=0 0",
        "v=0\r\no=- 1 2 IN IP6 ::1\r\ns=-\r\nt=0 0\r\n\r\n\n",
        "v=0\r\no=- 1 2 IN IP4 x\r\ns=-\r\nm=audio  9/2 \t RTP/AVP  0 8 \r\nz=0 0\nX=new letter\r\na=\r\na=:\r\n",
    ] {
        let description = SessionDescription::parse(text).expect(text);
        assert_eq!(description.to_text(), text);
    }
}

#[test]
fn mend12_big_numbers_and_an_empty_name_are_read() {
    let text = "v=0\r\no=- 36893488147419103232 184467440737095516160 IN IP4 127.0.0.1\r\ns=\r\nt=0 0\r\n";
    let description = SessionDescription::parse(text).expect("parses");
    assert_eq!(description.to_text(), text);
    let origin = description.origin().expect("well-formed");
    assert_eq!((origin.session_id, origin.version()), ("36893488147419103232", None));
    assert_eq!(
        origin.to_string(),
        "- 36893488147419103232 184467440737095516160 IN IP4 127.0.0.1"
    );
    // Nobody uses it, so an odd one refuses nothing; and it is not taken for what it is not.
    for odd in ["- -1 2 IN IP4 x", "- 1 2", "", "- 1 2 IN IP4 x y"] {
        let text = format!("v=0\r\no={odd}\r\ns=-\r\nt=0 0\r\n");
        let description = SessionDescription::parse(&text).expect("parses");
        assert_eq!((description.to_text(), description.origin()), (text, None));
    }
}

#[test]
fn mend12_blanks_at_line_ends_are_forgiven_everywhere() {
    let lines = [
        "mid:1",
        "inactive",
        "ice-ufrag:abcd",
        "ice-pwd:0123456789012345678901",
        "setup:active",
        "rtcp-mux",
        "bundle-only",
        "fingerprint:sha-256 02:03",
        "rtpmap:0 PCMU/8000",
        "fmtp:0 a=1;b=2",
        "rtcp-fb:0 nack pli",
        "extmap:3 urn:x",
        "ssrc:1 cname:x",
        "ssrc-group:FID 1 2",
        "msid:a b",
        "rid:h send pt=0",
        "simulcast:send h",
        "rtcp:9 IN IP4 0.0.0.0",
        "candidate:1 1 udp 1 10.0.0.1 9 typ host",
        "sctp-port:5000",
        "max-message-size:0",
        "tls-id:x",
        "ptime:20",
        "cryptex",
        "ice-options:trickle ice2",
        "end-of-candidates",
        "sctp-init:AAA=",
        "unheard-of:1",
    ];
    let bare: String = lines.iter().map(|line| format!("a={line}\r\n")).collect();
    let bare = section(&bare);
    for blanks in [" ", "\t", " \t  "] {
        let padded: String = lines.iter().map(|line| format!("a={line}{blanks}\r\n")).collect();
        let padded = section(&padded);
        for (padded, bare) in padded.lines().iter().zip(bare.lines()) {
            assert_eq!(padded.attribute(), bare.attribute());
            assert_eq!(padded.name_and_value(), bare.name_and_value());
            let (name, _) = bare.name_and_value().expect("an attribute");
            let of = |line: &Line| {
                let mut section = Section::new();
                section.push(line.clone());
                section.value(name).map(str::to_owned)
            };
            assert!(of(bare).is_some() && of(padded) == of(bare), "{name}");
        }
        assert_eq!(
            (padded.mid(), padded.direction()),
            (Some("1"), Some(Direction::Inactive))
        );
        assert_eq!(padded.ice_options().collect::<Vec<_>>(), ["trickle", "ice2"]);
    }
    // A blank in front of a value too, as `a=msid-semantic: WMS` has it; in front of the colon it makes another name.
    assert_eq!(section("a=mid: v\r\n").mid(), Some("v"));
    assert_eq!(section("a=mid :v\r\n").mid(), None);
    // Older peers put commas between the words.
    assert_eq!(
        section("a=ice-options:ice2,trickle\r\n")
            .ice_options()
            .collect::<Vec<_>>(),
        ["ice2", "trickle"]
    );
}

#[test]
fn media_lines_are_read_and_rewritten() {
    let text = format!("{HEAD}m=video 40000/2 UDP/TLS/RTP/SAVPF 96 200 x 97\r\na=mid:v\r\n");
    let mut description = SessionDescription::parse(&text).expect("parses");
    let line = &mut description.media[0].line;
    assert_eq!(
        (line.media(), line.port(), line.protocol()),
        ("video", 40_000, "UDP/TLS/RTP/SAVPF")
    );
    assert_eq!(line.formats().collect::<Vec<_>>(), ["96", "200", "x", "97"]);
    // V20: a payload type has seven bits; others are not payload types.
    assert_eq!(line.payload_types().collect::<Vec<_>>(), [96, 97]);
    line.set_port(0);
    assert_eq!(line.as_str(), "video 0/2 UDP/TLS/RTP/SAVPF 96 200 x 97");
    assert_eq!((line.port(), line.protocol()), (0, "UDP/TLS/RTP/SAVPF"));
    assert_eq!(line.formats().count(), 4);
    assert!(description.media[0].is_rejected());
    let made = MediaLine::new("audio", 9, "UDP/TLS/RTP/SAVPF", ["111", "0"]);
    assert_eq!(made.as_str(), "audio 9 UDP/TLS/RTP/SAVPF 111 0");
    assert_eq!(made.payload_types().collect::<Vec<_>>(), [111, 0]);
}

#[test]
fn codec_attributes() {
    let map = RtpMap::parse("111 opus/48000/2").expect("rtpmap");
    assert_eq!(
        (map.payload_type, map.encoding, map.clock_rate, map.channels),
        (111, "opus", 48_000, Some(2))
    );
    assert!(RtpMap::parse("128 opus/48000/2").is_none(), "seven bits");
    assert!(RtpMap::parse("96 VP8").is_none());
    let fmtp =
        Fmtp::parse("96 level-asymmetry-allowed=1; Packetization-Mode=1 ;profile-level-id=42e01f;x").expect("fmtp");
    assert_eq!(fmtp.get("packetization-mode"), Some("1"));
    assert_eq!(fmtp.get("x"), Some(""));
    assert_eq!(fmtp.get("y"), None);
    assert!(Fmtp::parse("trickle 1").is_none());
    let feedback = RtcpFeedback::parse("* ack ccfb").expect("rtcp-fb");
    assert!(feedback.payload_type.is_none() && feedback.applies_to(77) && feedback.value == "ack ccfb");
    let one = RtcpFeedback::parse("96 nack pli").expect("rtcp-fb");
    assert!(one.applies_to(96) && !one.applies_to(97));
    let map = ExtMap::parse("5/recvonly http://example/playout-delay a b").expect("extmap");
    assert_eq!(
        (map.id, map.direction, map.attributes),
        (5, Some(Direction::RecvOnly), Some("a b"))
    );
    assert!(ExtMap::parse("5/sideways urn:x").is_none());
}

#[test]
fn transport_attributes() {
    let section = section(
        "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=ice-options:trickle goog-sped-v1 \u{e9}\r\n\
         a=fingerprint:sha-256 zz\r\na=fingerprint:SHA-384 aB:01\r\na=fingerprint:sha-256 02:03\r\na=setup:passive\r\n\
         a=tls-id:xyz\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=end-of-candidates\r\n\
         b=AS:30\r\nb=TIAS:64000\r\nb=bad\r\nc=IN IP4 10.0.0.1/127\r\na=extmap-allow-mixed\r\na=cryptex\r\na=bundle-only\r\n",
    );
    assert_eq!(
        (section.ice_ufrag(), section.ice_pwd()),
        (Some("abcd"), Some("0123456789012345678901"))
    );
    // Words outside the ABNF are seen in the wild and must not make the description fail.
    assert_eq!(
        section.ice_options().collect::<Vec<_>>(),
        ["trickle", "goog-sped-v1", "\u{e9}"]
    );
    let fingerprints: Vec<Fingerprint<'_>> = section.fingerprints().collect();
    assert_eq!(fingerprints.len(), 2);
    assert_eq!(fingerprints[0].bytes().collect::<Vec<_>>(), [0xab, 1]);
    assert_eq!(section.setup(), Some(Setup::Passive));
    assert_eq!(section.tls_id(), Some("xyz"));
    assert_eq!(
        section.rtcp().map(|rtcp| (rtcp.port, rtcp.address)),
        Some((9, Some("IN IP4 0.0.0.0")))
    );
    assert!(section.rtcp_mux() && !section.rtcp_mux_only() && section.rtcp_reduced_size());
    assert!(section.end_of_candidates() && section.extmap_allow_mixed() && section.cryptex() && section.bundle_only());
    let bandwidths: Vec<_> = section.bandwidths().map(|line| (line.kind, line.value)).collect();
    assert_eq!(bandwidths, [("AS", 30), ("TIAS", 64_000)]);
    assert_eq!(section.connection().map(|line| line.address), Some("10.0.0.1/127"));
    assert!(!section.ice_lite() && section.direction().is_none());
}

#[test]
fn source_and_group_attributes() {
    let ssrc = Ssrc::parse("4294967295 msid:a b").expect("ssrc");
    assert_eq!((ssrc.ssrc, ssrc.attribute, ssrc.value), (u32::MAX, "msid", Some("a b")));
    assert!(Ssrc::parse("4294967296 cname:x").is_none());
    assert_eq!(SsrcGroup::parse("FID 1 2").expect("group").ssrcs, [1, 2]);
    assert!(SsrcGroup::parse("FID 1 x").is_none());
    assert_eq!(
        Group::parse("BUNDLE 0 1").expect("group").mids().collect::<Vec<_>>(),
        ["0", "1"]
    );
    assert_eq!(Group::parse("BUNDLE").expect("an empty group").mids().count(), 0);
    let msid = Msid::parse("{a} {b}").expect("msid");
    assert_eq!((msid.stream, msid.track), ("{a}", Some("{b}")));
    assert_eq!(Msid::parse("-").expect("msid").track, None);
}

#[test]
fn simulcast_attributes() {
    let rid = Rid::parse("h send pt=96,97,300;max-width=1280").expect("rid");
    assert_eq!(rid.payload_types().collect::<Vec<_>>(), [96, 97]);
    assert_eq!(rid.restriction("max-width"), Some("1280"));
    assert_eq!((rid.restriction("max"), rid.restriction("max-br")), (None, None));
    assert!(Rid::parse("h sideways").is_none());
    let simulcast = Simulcast::parse("send h,~m;~l recv x").expect("simulcast");
    let names = |streams: &Vec<Vec<antiphon_sdp::SimulcastStream<'_>>>| {
        streams
            .iter()
            .map(|alternatives| {
                alternatives
                    .iter()
                    .map(|one| (one.rid.to_owned(), one.paused))
                    .collect()
            })
            .collect::<Vec<Vec<_>>>()
    };
    assert_eq!(
        names(&simulcast.send),
        [vec![("h".into(), false), ("m".into(), true)], vec![("l".into(), true)]]
    );
    assert_eq!(names(&simulcast.receive), [vec![("x".into(), false)]]);
    assert_eq!(simulcast.to_string(), "send h,~m;~l recv x");
    assert!(Simulcast::parse("send a send b").is_none());
    assert!(Simulcast::parse("send a;;b").is_none());
}

#[test]
fn candidates() {
    let text = "842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.1 rport 9 generation 0 ufrag abcd";
    let candidate = Candidate::parse(text).expect("candidate");
    assert_eq!(
        (candidate.component, candidate.priority, candidate.port),
        (1, 1_677_729_535, 46_154)
    );
    assert_eq!((candidate.kind, candidate.related), ("srflx", Some(("10.0.0.1", 9))));
    assert_eq!(
        (candidate.extension("ufrag"), candidate.extension("0")),
        (Some("abcd"), None)
    );
    assert_eq!(candidate.to_string(), text);
    let mdns = "candidate:1 1 TCP 1 d2a3.local 9 typ host tcptype active";
    assert_eq!(
        Candidate::parse(mdns).expect("with its name").extension("tcptype"),
        Some("active")
    );
    assert!(Candidate::parse("1 1 udp 4294967296 10.0.0.1 1 typ host").is_none());
    assert!(Candidate::parse("1 1 udp 1 10.0.0.1 70000 typ host").is_none());
    assert!(Candidate::parse("").is_none());
}

#[test]
fn malformed_attributes_are_kept_and_named() {
    let section = section("a=rtpmap:300 x/1\r\na=sctp-port:70000\r\na=setup:maybe\r\na=unheard-of:1\r\na=flag\r\n");
    let attributes: Vec<Attribute<'_>> = section.attributes().collect();
    assert!(matches!(attributes[0], Attribute::Malformed { name: "rtpmap", .. }));
    assert!(matches!(attributes[1], Attribute::Malformed { name: "sctp-port", .. }));
    assert!(matches!(attributes[2], Attribute::Malformed { name: "setup", .. }));
    assert!(matches!(
        attributes[3],
        Attribute::Other {
            name: "unheard-of",
            value: Some("1")
        }
    ));
    assert!(matches!(
        attributes[4],
        Attribute::Other {
            name: "flag",
            value: None
        }
    ));
    assert!(section.has("flag") && section.has("unheard-of") && !section.has("unheard"));
}

#[test]
fn no_text_can_inject_a_line() {
    let mut section = Section::new();
    section.push(Line::new('a', "msid:x\r\na=ice-lite"));
    let mut description = SessionDescription::new(&Origin {
        username: "-",
        session_id: "1",
        session_version: "1",
        network_type: "IN",
        address_type: "IP4",
        address: "0.0.0.0",
    });
    description.media.push(MediaDescription {
        line: MediaLine::new("audio", 9, "UDP/TLS/RTP/SAVPF", ["0"]),
        section,
    });
    let read = SessionDescription::parse(&description.to_text()).expect("parses");
    assert_eq!(read, description);
    assert!(!read.media[0].section.ice_lite());
}

#[test]
fn directions_compose() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    for (direction, reversed) in [
        (SendRecv, SendRecv),
        (SendOnly, RecvOnly),
        (RecvOnly, SendOnly),
        (Inactive, Inactive),
    ] {
        assert_eq!(direction.reversed(), reversed);
        assert_eq!(direction.intersect(SendRecv), direction);
        assert_eq!(Direction::parse(direction.as_str()), Some(direction));
    }
    assert_eq!(SendOnly.intersect(RecvOnly), Inactive);
}

#[test]
fn a_hundred_thousand_sections_are_read_in_one_pass() {
    // V20: linear, so this takes well under a second; a quadratic parser would be noticed by whoever runs the tests.
    let text = format!(
        "{HEAD}{}",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:x\r\n".repeat(100_000)
    );
    let description = SessionDescription::parse(&text).expect("parses");
    assert_eq!(description.media.len(), 100_000);
    assert_eq!(description.to_text().len(), text.len());
    let long = format!("{HEAD}a=x:{}\r\n", "y".repeat(antiphon_sdp::MAX_LENGTH));
    assert_eq!(SessionDescription::parse(&long).unwrap_err().kind, ErrorKind::TooLong);
}

fn line() -> impl Strategy<Value = String> {
    let attribute = prop::sample::select(vec![
        "rtpmap",
        "fmtp",
        "rtcp-fb",
        "extmap",
        "candidate",
        "fingerprint",
        "setup",
        "rtcp",
        "ssrc",
        "ssrc-group",
        "group",
        "msid",
        "rid",
        "simulcast",
        "mid",
        "ice-options",
        "sctp-port",
        "max-message-size",
        "ptime",
    ]);
    prop_oneof![
        (attribute, "[ -~]{0,40}").prop_map(|(name, value)| format!("a={name}:{value}")),
        (
            prop::sample::select(vec!["rtpmap", "ssrc", "extmap", "rid", "simulcast", "fmtp"]),
            "[0-9]{1,11}(/[a-z0-9]{1,5}){0,3} [a-z0-9~;,=:/ ]{0,30}"
        )
            .prop_map(|(name, value)| format!("a={name}:{value}")),
        "[a-zA-Z]=[^\r\n\u{0}]{0,40}",
        "m=[a-z]{1,6} [0-9]{1,5} [A-Z/]{1,9}( [0-9]{1,3}){1,5}",
    ]
}

proptest! {
    #[test]
    fn any_bytes_parse_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(description) = SessionDescription::parse_bytes(&bytes) {
            prop_assert_eq!(description.to_text().into_bytes(), bytes);
        }
    }

    #[test]
    fn what_parses_is_written_back(lines in prop::collection::vec(line(), 0..30), crlf in any::<bool>(), end in any::<bool>()) {
        let newline = if crlf { "\r\n" } else { "\n" };
        let mut text = format!("{HEAD}{}", lines.join(newline));
        if end {
            text.push_str(newline);
        }
        if let Ok(description) = SessionDescription::parse(&text) {
            prop_assert_eq!(&description.to_text(), &text);
            prop_assert_eq!(description.text_len(), text.len());
            for media in &description.media {
                let mut line = media.line.clone();
                line.set_port(12);
                let again = format!("{HEAD}m={}\r\n", line.as_str());
                let read = SessionDescription::parse(&again).expect("a rewritten m= line parses");
                prop_assert_eq!(read.media[0].line.port(), 12);
                prop_assert_eq!(read.media[0].line.protocol(), media.line.protocol());
            }
        }
    }

    #[test]
    fn typed_attributes_survive_a_round_trip(line in line()) {
        if let Some(text) = line.strip_prefix("a=") {
            let attribute = Attribute::parse(text);
            let written = attribute.to_string();
            let again = Attribute::parse(&written);
            prop_assert_eq!(&again.to_string(), &written);
            prop_assert_eq!(std::mem::discriminant(&again), std::mem::discriminant(&attribute));
        }
    }
}

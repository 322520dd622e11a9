#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::sync::Arc;

use antiphon_jsep::sdp::RtcpFeedback;
use antiphon_jsep::{
    Config, Direction, Encoding, Fingerprint, LocalTransport, MediaKind, Negotiator, OfferOptions, Plan, SdpType,
    Sender, SessionDescription, TransceiverId, TransceiverInit,
};
use antiphon_sansio::Rng;

/// A transport of the given name and ICE generation; the fingerprint depends on the name alone.
pub fn transport(name: char, generation: u32) -> LocalTransport {
    let byte = format!("{:02X}", name as u32 & 0xff);
    LocalTransport {
        ufrag: format!("{name}frag{generation}"),
        pwd: format!("{name}-password-of-generation-{generation}"),
        fingerprints: vec![Fingerprint {
            algorithm: "sha-256".into(),
            digest: vec![byte; 32].join(":"),
        }],
        ..LocalTransport::default()
    }
}

/// One side of an exchange.
#[derive(Debug)]
pub struct Peer {
    pub negotiator: Negotiator,
    pub name: char,
    pub generation: u32,
    pub next_ssrc: u32,
}

impl Peer {
    pub fn new(name: char) -> Self {
        Self::with(name, Config::default())
    }

    pub fn with(name: char, config: Config) -> Self {
        Self {
            negotiator: Negotiator::new(config, Rng::from_u64(u64::from(name as u32))),
            name,
            generation: 0,
            next_ssrc: (name as u32) << 16,
        }
    }

    pub fn transport(&self) -> LocalTransport {
        transport(self.name, self.generation)
    }

    pub fn sender(&mut self, kind: MediaKind) -> Sender {
        self.next_ssrc += 3;
        Sender {
            streams: vec![format!("stream-{}", self.name)],
            track: Some(format!("track-{}-{}", self.name, self.next_ssrc)),
            encodings: vec![Encoding {
                rid: None,
                ssrc: self.next_ssrc,
                rtx_ssrc: (kind == MediaKind::Video).then_some(self.next_ssrc + 1),
                fec_ssrc: (kind == MediaKind::Video).then_some(self.next_ssrc + 2),
            }],
        }
    }

    pub fn add(&mut self, kind: MediaKind, direction: Direction) -> TransceiverId {
        let sender = self.sender(kind);
        self.negotiator.add_transceiver(
            kind,
            TransceiverInit {
                direction,
                sender,
                ..TransceiverInit::default()
            },
        )
    }

    /// What `add_track` does: takes an unused transceiver of the kind, or makes one.
    pub fn add_track(&mut self, kind: MediaKind) -> TransceiverId {
        let sender = self.sender(kind);
        let unused = self
            .negotiator
            .transceivers()
            .find(|own| own.kind() == kind && own.sender().encodings.is_empty() && !own.stopped() && !own.stopping())
            .map(|own| (own.id(), own.direction()));
        match unused {
            Some((id, direction)) => {
                self.negotiator.set_sender(id, sender, true).expect("live");
                let direction = Direction::from_flags(true, direction.receives());
                self.negotiator.set_direction(id, direction).expect("live");
                id
            }
            None => self.negotiator.add_transceiver(
                kind,
                TransceiverInit {
                    direction: Direction::SendRecv,
                    sender,
                    from_add_track: true,
                    receive_rids: Vec::new(),
                },
            ),
        }
    }

    pub fn offer(&mut self) -> SessionDescription {
        let transport = self.transport();
        let offer = self.negotiator.create_offer(&OfferOptions::default(), &transport);
        Arc::unwrap_or_clone(offer.expect("an offer"))
    }

    pub fn answer(&mut self) -> SessionDescription {
        if self.negotiator.answer_needs_new_credentials() {
            self.generation += 1;
        }
        let transport = self.transport();
        Arc::unwrap_or_clone(self.negotiator.create_answer(&transport).expect("an answer"))
    }

    pub fn direction(&self, id: TransceiverId) -> Option<Direction> {
        self.negotiator.transceiver(id).and_then(|own| own.current_direction())
    }
}

/// The four plans of one exchange.
#[derive(Debug)]
pub struct Exchange {
    pub offer: SessionDescription,
    pub answer: SessionDescription,
    pub offerer_local: Plan,
    pub answerer_remote: Plan,
    pub answerer_local: Plan,
    pub offerer_remote: Plan,
}

/// Text to tree, as over a wire.
pub fn wire(description: &SessionDescription) -> SessionDescription {
    let text = description.to_text();
    let read = SessionDescription::parse(&text).expect("what we write parses");
    assert_eq!(&read, description);
    read
}

pub fn exchange(offerer: &mut Peer, answerer: &mut Peer) -> Exchange {
    exchange_with(offerer, answerer, |_| {})
}

/// `between` runs on the answerer before it answers.
pub fn exchange_with(offerer: &mut Peer, answerer: &mut Peer, between: impl FnOnce(&mut Peer)) -> Exchange {
    let offer = offerer.offer();
    let offerer_local = offerer
        .negotiator
        .set_local(SdpType::Offer, offer.clone())
        .expect("set local offer");
    let answerer_remote = answerer
        .negotiator
        .set_remote(SdpType::Offer, wire(&offer))
        .expect("set remote offer");
    between(answerer);
    let answer = answerer.answer();
    let answerer_local = answerer
        .negotiator
        .set_local(SdpType::Answer, answer.clone())
        .expect("set local answer");
    let offerer_remote = offerer
        .negotiator
        .set_remote(SdpType::Answer, wire(&answer))
        .expect("set remote answer");
    check_answer(&offer, &answer);
    Exchange {
        offer,
        answer,
        offerer_local,
        answerer_remote,
        answerer_local,
        offerer_remote,
    }
}

/// What RFC 3264, RFC 9143 and RFC 9429 ask of every answer.
pub fn check_answer(offer: &SessionDescription, answer: &SessionDescription) {
    wire(answer);
    assert_eq!(offer.media.len(), answer.media.len());
    let bundled: Vec<&str> = bundle(answer);
    for (offered, answered) in offer.media.iter().zip(&answer.media) {
        assert_eq!(offered.section.mid(), answered.section.mid());
        assert_eq!(offered.line.media(), answered.line.media());
        assert_eq!(offered.line.protocol(), answered.line.protocol());
        let mid = answered.section.mid().unwrap_or_default();
        if answered.is_rejected() {
            assert!(!bundled.contains(&mid), "a rejected section is out of the bundle");
            continue;
        }
        assert!(!offered.is_rejected(), "{mid} was not offered");
        assert!(bundle(offer).is_empty() || bundled.contains(&mid), "{mid} is bundled");
        assert!(answered.section.fingerprints().next().is_some());
        assert!(answered.section.ice_ufrag().is_some() && answered.section.ice_pwd().is_some());
        use antiphon_jsep::sdp::Setup;
        assert!(matches!(answered.section.setup(), Some(Setup::Active | Setup::Passive)));
        if answered.line.media() == "application" {
            assert!(answered.section.sctp_port().is_some());
            continue;
        }
        assert!(answered.section.rtcp_mux());
        let (given, allowed) = (answer.direction_of(answered), offer.direction_of(offered).reversed());
        assert_eq!(given.intersect(allowed), given, "{mid}: direction");
        let offered_types: Vec<u8> = offered.line.payload_types().collect();
        let mut answered_types: Vec<u8> = answered.line.payload_types().collect();
        assert!(!answered_types.is_empty());
        for number in &answered_types {
            assert!(
                offered_types.contains(number),
                "{mid}: payload type {number} was not offered"
            );
            let map = answered.rtpmap(*number).expect("an rtpmap for each");
            if let Some(theirs) = offered.rtpmap(*number) {
                assert!(map.encoding.eq_ignore_ascii_case(theirs.encoding), "{mid}: {number}");
                assert_eq!(map.clock_rate, theirs.clock_rate);
            }
            if map.encoding == "rtx" {
                let apt = |media: &antiphon_jsep::sdp::MediaDescription| {
                    media.fmtp(*number).and_then(|fmtp| fmtp.get("apt").map(str::to_owned))
                };
                assert_eq!(apt(answered), apt(offered), "{mid}: rtx {number}");
                let repaired: u8 = apt(answered).expect("apt").parse().expect("a number");
                assert!(answered_types.contains(&repaired));
            }
        }
        answered_types.sort_unstable();
        answered_types.dedup();
        assert_eq!(answered_types.len(), answered.line.payload_types().count(), "each once");
        for map in answered.section.extmaps() {
            let offered_map = offered
                .section
                .extmaps()
                .find(|own| own.id == map.id)
                .expect("an offered id");
            assert_eq!(offered_map.uri, map.uri, "{mid}: id {} keeps its meaning", map.id);
            assert_eq!(map.direction, offered_map.direction.map(Direction::reversed));
        }
        for feedback in answered.section.rtcp_feedback() {
            let of_number = |own: &RtcpFeedback<'_>| feedback.payload_type.is_none_or(|number| own.applies_to(number));
            assert!(
                offered
                    .section
                    .rtcp_feedback()
                    .any(|own| of_number(&own) && own.value == feedback.value),
                "{mid}: {feedback} was not offered"
            );
            // RFC 8888 §6: nothing but that is for all payload types at once.
            assert_eq!(feedback.payload_type.is_none(), feedback.value == "ack ccfb");
        }
        for rid in answered.section.rids() {
            let theirs = offered
                .section
                .rids()
                .find(|own| own.id == rid.id)
                .expect("an offered rid");
            assert_eq!(rid.direction, theirs.direction.reversed());
        }
    }
}

pub fn bundle(description: &SessionDescription) -> Vec<&str> {
    description
        .session
        .groups()
        .filter(|group| group.semantics == "BUNDLE")
        .flat_map(|group| group.mids())
        .collect()
}

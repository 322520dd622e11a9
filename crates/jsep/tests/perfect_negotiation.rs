//! Two applications that do as they please, with the W3C's "perfect negotiation" between them: whatever they do, and in
//! whatever order their messages cross, both come to rest and agree.

mod common;

use std::collections::VecDeque;

use antiphon_jsep::{Direction, IceRole, MediaKind, SdpType, SessionDescription, SignalingState};
use common::{Peer, bundle, wire};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    AddTrack(usize, MediaKind),
    AddTransceiver(usize, MediaKind, Direction),
    SetDirection(usize, prop::sample::Index, Direction),
    Stop(usize, prop::sample::Index),
    WantData(usize),
    RestartIce(usize),
    /// Makes an offer if one is needed.
    Negotiate(usize),
    /// Delivers one message to this side.
    Deliver(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop::sample::select(vec![MediaKind::Audio, MediaKind::Video]);
    let direction = prop::sample::select(vec![
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::RecvOnly,
        Direction::Inactive,
    ]);
    let at = || 0..2_usize;
    prop_oneof![
        2 => (at(), kind.clone()).prop_map(|(at, kind)| Step::AddTrack(at, kind)),
        1 => (at(), kind, direction.clone()).prop_map(|(at, kind, direction)| Step::AddTransceiver(at, kind, direction)),
        2 => (at(), any::<prop::sample::Index>(), direction)
            .prop_map(|(at, index, direction)| Step::SetDirection(at, index, direction)),
        1 => (at(), any::<prop::sample::Index>()).prop_map(|(at, index)| Step::Stop(at, index)),
        1 => at().prop_map(Step::WantData),
        1 => at().prop_map(Step::RestartIce),
        5 => at().prop_map(Step::Negotiate),
        6 => at().prop_map(Step::Deliver),
    ]
}

struct Call {
    peers: [Peer; 2],
    /// What is on its way to each.
    queues: [VecDeque<(SdpType, SessionDescription)>; 2],
    /// The impolite side drops an offer that meets its own, and with it the candidates and all that depends on it.
    roles: [Option<IceRole>; 2],
}

impl Call {
    fn new() -> Self {
        Self {
            peers: [Peer::new('i'), Peer::new('p')],
            queues: Default::default(),
            roles: [None; 2],
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::AddTrack(at, kind) => drop(self.peers[at].add_track(kind)),
            Step::AddTransceiver(at, kind, direction) => drop(self.peers[at].add(kind, direction)),
            Step::SetDirection(at, index, direction) => {
                if let Some(id) = self.pick(at, index) {
                    // A side that sends has something to send.
                    let peer = &mut self.peers[at];
                    let own = peer.negotiator.transceiver(id).expect("picked");
                    if direction.sends() && own.sender().encodings.is_empty() {
                        let sender = peer.sender(own.kind());
                        peer.negotiator.set_sender(id, sender, true).expect("live");
                    }
                    peer.negotiator.set_direction(id, direction).expect("live");
                }
            }
            Step::Stop(at, index) => {
                if let Some(id) = self.pick(at, index) {
                    self.peers[at].negotiator.stop(id).expect("live");
                }
            }
            Step::WantData(at) => self.peers[at].negotiator.want_data(),
            Step::RestartIce(at) => self.peers[at].negotiator.restart_ice(),
            Step::Negotiate(at) => self.negotiate(at),
            Step::Deliver(at) => self.deliver(at),
        }
    }

    fn pick(&self, at: usize, index: prop::sample::Index) -> Option<antiphon_jsep::TransceiverId> {
        let live: Vec<_> = self.peers[at]
            .negotiator
            .transceivers()
            .filter(|own| !own.stopped() && !own.stopping())
            .map(|own| own.id())
            .collect();
        (!live.is_empty()).then(|| live[index.index(live.len())])
    }

    fn negotiate(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        if !peer.negotiator.negotiation_needed() {
            return;
        }
        if peer.negotiator.ice_restart_wanted() {
            peer.generation += 1;
        }
        let offer = peer.offer();
        peer.negotiator
            .set_local(SdpType::Offer, offer.clone())
            .expect("our own offer");
        self.queues[1 - at].push_back((SdpType::Offer, wire(&offer)));
    }

    fn deliver(&mut self, at: usize) {
        let Some((kind, description)) = self.queues[at].pop_front() else {
            return;
        };
        let polite = at == 1;
        let peer = &mut self.peers[at];
        let state = peer.negotiator.signaling_state();
        match kind {
            SdpType::Offer => {
                if !polite && state != SignalingState::Stable {
                    return;
                }
                peer.negotiator
                    .set_remote(kind, description.clone())
                    .expect("an offer at any time");
                let answer = peer.answer();
                common::check_answer(&description, &answer);
                let plan = peer
                    .negotiator
                    .set_local(SdpType::Answer, answer.clone())
                    .expect("our own answer");
                self.roles[at] = plan.transport.ice_role;
                self.queues[1 - at].push_back((SdpType::Answer, wire(&answer)));
            }
            _ => {
                // The answer to an offer that was taken back never comes: the impolite side ignored that offer.
                let plan = peer
                    .negotiator
                    .set_remote(kind, description.clone())
                    .expect("the answer to our offer");
                self.roles[at] = plan.transport.ice_role;
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..60 {
            for at in [0, 1] {
                while !self.queues[at].is_empty() {
                    self.deliver(at);
                }
            }
            let busy = |at: usize| self.peers[at].negotiator.negotiation_needed();
            match (busy(0), busy(1)) {
                (false, false) if self.queues.iter().all(VecDeque::is_empty) => return,
                (true, _) => self.negotiate(0),
                (_, true) => self.negotiate(1),
                _ => {}
            }
        }
        panic!("the two never come to rest");
    }

    fn check(&self) {
        let [a, b] = &self.peers;
        for peer in &self.peers {
            assert_eq!(peer.negotiator.signaling_state(), SignalingState::Stable);
        }
        let texts = (
            a.negotiator.current_local_description(),
            b.negotiator.current_local_description(),
        );
        let (Some((_, ours)), Some((_, theirs))) = texts else {
            return;
        };
        assert_eq!(ours.media.len(), theirs.media.len());
        let sorted = |text| {
            let mut mids = bundle(text);
            mids.sort_unstable();
            mids.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        // The offer's group may still name what the answer refused.
        let answered = if a.negotiator.current_local_description().map(|(kind, _)| kind) == Some(SdpType::Answer) {
            sorted(ours)
        } else {
            sorted(theirs)
        };
        let mut mids = std::collections::BTreeSet::new();
        for own in a.negotiator.transceivers() {
            let mid = own.mid().expect("settled: every transceiver has a section");
            assert!(mids.insert(mid) && answered.iter().any(|name| name == mid));
            let their = b.negotiator.transceiver_by_mid(mid).expect("both sides have it");
            let direction = own.current_direction().expect("negotiated");
            assert_eq!(their.current_direction().map(Direction::reversed), Some(direction));
            let wanted = own.direction().intersect(their.direction().reversed());
            assert_eq!(direction, wanted, "{mid}: what both want");
            for (from, to) in [(own, their), (their, own)] {
                let (Some(send), Some(receive)) = (from.send(), to.receive()) else {
                    assert!(from.send().is_none() && to.receive().is_none());
                    continue;
                };
                let list = |codecs: &[antiphon_jsep::Codec]| {
                    codecs
                        .iter()
                        .map(|codec| (codec.payload_type, codec.name.clone(), codec.rtx))
                        .collect::<Vec<_>>()
                };
                assert_eq!(list(&send.codecs), list(&receive.codecs));
                assert_eq!(send.extensions, receive.extensions);
                if let Some(encoding) = from.sender().encodings.first() {
                    assert_eq!(receive.streams.first().map(|stream| stream.ssrc), Some(encoding.ssrc));
                    assert_eq!(to.remote_streams(), from.sender().streams);
                }
            }
        }
        assert_eq!(a.negotiator.transceivers().count(), b.negotiator.transceivers().count());
        if let (Some(own), Some(their)) = (self.roles[0], self.roles[1]) {
            assert_ne!(own, their, "one controls");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn both_come_to_rest_and_agree(steps in prop::collection::vec(step(), 0..60)) {
        let mut call = Call::new();
        for step in steps {
            call.apply(step);
        }
        call.settle();
        call.check();
    }
}

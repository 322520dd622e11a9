//! Two whole peers: ICE, DTLS, SRTP and SCTP below, offer and answer above.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use antiphon_dtls::{Certificate, CertificateParams, KeyAlgorithm};
use antiphon_netsim::Machine;
use antiphon_peer_connection::{
    ClockAnchor, Direction, Event, Frame, IoEvent, IoRequest, MediaKind, MediaStreamTrack, Message, PeerConnection,
    RtcConfiguration, RtcDataChannelInit, RtcIceCandidateInit, RtcSessionDescription, SdpType, Settings, TransceiverId,
};
use antiphon_sansio::{Datagram, Local, Rng, Transmit, TransmitBuf};

use super::pair::{self, End};

/// Descriptions and candidates that wait for each end.
type Signalling = Rc<RefCell<[VecDeque<Signal>; 2]>>;

enum Signal {
    Description(RtcSessionDescription),
    Candidate(Option<RtcIceCandidateInit>),
}

/// Signals beyond this are lost: an end that never listens does not grow.
const MAX_SIGNALS: usize = 64;

pub(super) fn machine(data: &[u8]) {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    let certificate = CERTIFICATE.get_or_init(|| {
        // Its signatures need no random numbers.
        let params = CertificateParams {
            algorithm: KeyAlgorithm::Ed25519,
            ..CertificateParams::default()
        };
        Arc::new(Certificate::generate(&params).expect("a certificate"))
    });
    let now = antiphon_netsim::start();
    let signalling = Signalling::default();
    let rng = Rng::from_u64(1);
    let mut ends = [0, 1].map(|at| {
        let configuration = RtcConfiguration {
            certificates: vec![Arc::clone(certificate)],
            settings: Settings {
                provider: antiphon_crypto::null_provider(),
                ..Settings::default()
            },
            ..RtcConfiguration::default()
        };
        let anchor = ClockAnchor::new(now, Duration::from_secs(1_790_000_000));
        let rng = rng.fork_numbered("peer", at as u64);
        Peer {
            at,
            pc: PeerConnection::new(configuration, now, anchor, rng).expect("a sound configuration"),
            signalling: Rc::clone(&signalling),
            tracks: 0,
        }
    });
    // Most inputs shall come past signalling: one exchange is done, with everything in it.
    let [first, second] = &mut ends;
    for kind in [MediaKind::Audio, MediaKind::Video] {
        first.add_track(kind);
    }
    let _ = first.pc.create_data_channel(now, "c", RtcDataChannelInit::default());
    first.offer(now);
    for _ in 0..4 {
        second.listen(now);
        first.listen(now);
    }
    pair::run(now, ends, &|_, _| {}, data);
}

struct Peer {
    at: usize,
    pc: PeerConnection,
    signalling: Signalling,
    tracks: u32,
}

impl Peer {
    /// What a driver would do at once.
    fn serve(&mut self, now: Instant) {
        while let Some(request) = self.pc.poll_io() {
            let address = pair::address(self.at);
            match request {
                IoRequest::ListInterfaces { .. } => self.pc.handle_io(now, IoEvent::Interfaces(vec![address.ip()])),
                IoRequest::BindUdp { request, .. } => {
                    let local = Local::Socket(0);
                    self.pc.handle_io(
                        now,
                        IoEvent::UdpBound {
                            request,
                            local,
                            addr: address,
                        },
                    );
                }
                other => {
                    if let Some(request) = other.awaits() {
                        let reason = "not in this network".to_owned();
                        self.pc.handle_io(now, IoEvent::Failed { request, reason });
                    }
                }
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let queue = &mut self.signalling.borrow_mut()[1 - self.at];
        if queue.len() < MAX_SIGNALS {
            queue.push_back(signal);
        }
    }

    fn offer(&mut self, now: Instant) {
        if self.pc.set_local_description(now, None).is_ok()
            && let Some(description) = self.pc.local_description()
        {
            self.signal(Signal::Description(description));
        }
        self.serve(now);
    }

    /// Takes what the other end signalled, and answers.
    fn listen(&mut self, now: Instant) {
        let heard = std::mem::take(&mut self.signalling.borrow_mut()[self.at]);
        for signal in heard {
            match signal {
                Signal::Description(description) => {
                    let kind = description.sdp_type;
                    if self.pc.set_remote_description(now, description).is_ok() && kind == SdpType::Offer {
                        self.offer(now);
                    }
                }
                Signal::Candidate(candidate) => {
                    let _ = self.pc.add_ice_candidate(now, candidate);
                }
            }
            self.serve(now);
        }
    }

    fn add_track(&mut self, kind: MediaKind) {
        self.tracks += 1;
        let _ = self.pc.add_track(MediaStreamTrack {
            kind,
            id: format!("{}", self.tracks),
            stream_ids: Vec::new(),
        });
    }

    fn transceiver(&self, argument: u8) -> Option<TransceiverId> {
        let ids: Vec<_> = self.pc.transceivers().map(|own| own.id()).collect();
        (!ids.is_empty()).then(|| ids[usize::from(argument) % ids.len()])
    }
}

impl Machine for Peer {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.pc.handle_datagram(now, datagram);
        self.serve(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.pc.handle_timeout(now);
        self.serve(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        self.pc.poll_transmit(now, out)
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.pc.poll_event();
        if let Some(Event::IceCandidate(candidate)) = &event {
            self.signal(Signal::Candidate(candidate.clone()));
        }
        event
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.pc.poll_timeout()
    }

    fn close(&mut self, now: Instant) {
        self.pc.close(now);
    }

    fn is_terminated(&self) -> bool {
        self.pc.is_closed()
    }
}

impl End for Peer {
    fn act(&mut self, now: Instant, action: u8, argument: u8) -> Option<Vec<u8>> {
        let transceiver = self.transceiver(argument);
        let channels: Vec<_> = self.pc.data_channels().collect();
        let channel = (!channels.is_empty()).then(|| channels[usize::from(argument) % channels.len()]);
        match (action % 20, transceiver, channel) {
            (0..=3, ..) => self.listen(now),
            (4, ..) => self.offer(now),
            (5, ..) => {
                let kind = [MediaKind::Audio, MediaKind::Video][usize::from(argument & 1)];
                if self.pc.transceivers().count() < 8 {
                    self.add_track(kind);
                }
            }
            (6, Some(id), _) => {
                let _ = self.pc.remove_track(id);
            }
            (7, Some(id), _) => {
                use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
                let direction = [SendRecv, SendOnly, RecvOnly, Inactive][usize::from(argument >> 6)];
                let _ = self.pc.set_direction(id, direction);
            }
            (8, Some(id), _) => {
                let _ = self.pc.stop_transceiver(id);
            }
            (9 | 10, Some(id), _) => {
                let codec = self
                    .pc
                    .transceiver(id)
                    .and_then(|own| own.send()?.codecs.first().cloned());
                if let Some(codec) = codec {
                    let frame = Frame::new(
                        codec.payload_type,
                        u32::from(argument) * 960,
                        vec![argument; 1 + usize::from(argument) * 20],
                    );
                    let _ = self.pc.send_frame(now, id, frame);
                }
            }
            (11, Some(id), _) => {
                let _ = self.pc.request_key_frame(id);
            }
            (12, ..) => {
                let init = RtcDataChannelInit {
                    ordered: argument & 1 == 0,
                    ..RtcDataChannelInit::default()
                };
                if channels.len() < 8 {
                    let _ = self.pc.create_data_channel(now, "d", init);
                }
            }
            (13 | 14, _, Some(channel)) => {
                let message = Message::binary(vec![argument; usize::from(argument) * 16]);
                let _ = self.pc.send(now, channel, message);
            }
            (15, _, Some(channel)) => while self.pc.read(now, channel).is_some() {},
            (16, _, Some(channel)) => self.pc.close_data_channel(now, channel),
            (17, _, Some(channel)) => self.pc.forget_data_channel(now, channel),
            (18, ..) if argument > 128 => self.pc.restart_ice(),
            (18, ..) => {
                let _ = self
                    .pc
                    .set_local_description(now, Some(RtcSessionDescription::rollback()));
            }
            (19, ..) if argument > 250 => self.pc.close(now),
            (19, ..) => {
                let report = self.pc.get_stats(now);
                assert!(report.transport().is_some());
            }
            _ => {}
        }
        self.serve(now);
        None
    }
}

//! Two RTP sessions after SRTP: the peer is authenticated, and hostile.

use std::time::{Duration, Instant};

use antiphon_media::extension::{Kind as Extension, Map};
use antiphon_media::{
    Codec, Config, Event, FecAmount, Feedback, Frame, Kind, Output, ReceiverConfig, ReceiverId, RedDistance,
    RemoteSource, SendRedundancy, SenderConfig, SenderId, Session,
};
use antiphon_netsim::Machine;
use antiphon_rtp::packet::is_rtcp;
use antiphon_sansio::{ClockAnchor, Datagram, Packet, Rng, Transmit, TransmitBuf};

use super::pair::{self, End};

const FEEDBACK: Feedback = Feedback {
    nack: true,
    pli: true,
    fir: true,
    remb: true,
    transport_cc: true,
    ccfb: false,
};

fn codecs(kind: Kind) -> Vec<Codec> {
    let list: &[(u8, &str, u32, Option<u8>)] = match kind {
        Kind::Audio => &[
            (111, "opus", 48_000, None),
            (0, "PCMU", 8_000, None),
            (63, "red", 48_000, None),
        ],
        Kind::Video => &[
            (96, "VP8", 90_000, Some(97)),
            (98, "VP9", 90_000, Some(99)),
            (49, "flexfec-03", 90_000, None),
        ],
    };
    list.iter()
        .map(|(payload_type, name, clock_rate, rtx)| Codec {
            payload_type: *payload_type,
            name: (*name).into(),
            clock_rate: *clock_rate,
            channels: 1,
            fmtp: if *name == "red" {
                "111/111".into()
            } else {
                String::new()
            },
            rtx_payload_type: *rtx,
            feedback: FEEDBACK,
        })
        .collect()
}

fn extensions() -> Map {
    let mut map = Map::default();
    for (id, kind) in (1..).zip([
        Extension::Mid,
        Extension::Rid,
        Extension::RepairedRid,
        Extension::TransportCc,
        Extension::AbsSendTime,
        Extension::AudioLevel,
    ]) {
        map.insert(id, kind);
    }
    map
}

pub(super) fn machine(data: &[u8]) {
    let now = antiphon_netsim::start();
    let anchor = ClockAnchor::new(now, Duration::from_secs(1_800_000_000));
    let config = Config {
        redundancy: SendRedundancy {
            red: RedDistance::Fixed(2),
            fec: FecAmount::Percent(20),
        },
        ..Config::default()
    };
    let ends = [0u32, 1].map(|end| {
        let mut session = Session::new(config.clone(), now, anchor, Rng::from_u64(u64::from(end)));
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for (n, kind) in [(0u32, Kind::Audio), (1, Kind::Video)] {
            let sender = SenderConfig {
                mid: n.to_string(),
                rid: None,
                kind,
                ssrc: 100 * end + 10 * n + 1,
                rtx_ssrc: (kind == Kind::Video).then_some(100 * end + 10 * n + 2),
                fec_ssrc: (kind == Kind::Video).then_some(100 * end + 10 * n + 3),
                codecs: codecs(kind),
                extensions: extensions(),
            };
            senders.push(session.add_sender(now, sender).expect("room for two"));
            let receiver = ReceiverConfig {
                mid: n.to_string(),
                kind,
                codecs: codecs(kind),
                extensions: extensions(),
                sources: vec![RemoteSource {
                    ssrc: 100 * (1 - end) + 10 * n + 1,
                    rtx_ssrc: None,
                    fec_ssrc: (kind == Kind::Video).then_some(100 * (1 - end) + 10 * n + 3),
                    layer: None,
                }],
                rids: vec!["hi".into(), "lo".into()],
                output: if end == 0 { Output::Frames } else { Output::Packets },
                jitter_buffer_target: None,
                sync_group: Some("together".into()),
            };
            receivers.push(session.add_receiver(receiver).expect("room for two"));
        }
        Media {
            session,
            senders,
            receivers,
            frames: 0,
        }
    });
    pair::run(now, ends, &|_, _| (), data);
}

struct Media {
    session: Session,
    senders: Vec<SenderId>,
    receivers: Vec<ReceiverId>,
    frames: u32,
}

impl Machine for Media {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let packet = Packet {
            ecn: datagram.ecn,
            data: datagram.data,
        };
        if is_rtcp(&packet.data) {
            self.session.handle_rtcp(now, packet);
        } else {
            self.session.handle_rtp(now, packet);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        self.session.poll_transmit(now, out)?;
        Some(pair::whole(out.finish()))
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.session.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }

    fn close(&mut self, _: Instant) {
        self.session.close();
    }
}

impl End for Media {
    fn act(&mut self, now: Instant, action: u8, argument: u8) -> Option<Vec<u8>> {
        let which = usize::from(argument & 1);
        match action % 10 {
            0..=4 => {
                self.frames += 1;
                let (payload_type, len) = match (which, argument & 2) {
                    (0, 0) => (111, 60),
                    (0, _) => (0, 160),
                    (_, 0) => (96, 4_000),
                    _ => (96, 10),
                };
                let mut data = vec![argument; len];
                data[0] = argument >> 2;
                let frame = Frame::new(payload_type, self.frames * 3_000, data);
                let _ = self.session.send_frame(now, self.senders[which], frame);
            }
            5 => {
                let _ = self.session.request_key_frame(self.receivers[which]);
            }
            6 => self.session.set_rtt(Duration::from_millis(u64::from(argument))),
            7 => {
                let _ = self.session.set_sender_active(self.senders[which], argument & 2 == 0);
            }
            8 if argument > 240 => {
                let _ = self.session.remove_receiver(self.receivers[which]);
            }
            8 => {
                let _ = self.session.set_output(
                    self.receivers[which],
                    match argument >> 1 & 3 {
                        0 => Output::Frames,
                        1 => Output::Packets,
                        _ => Output::Playout,
                    },
                );
                let target = Duration::from_millis(u64::from(argument) * 20);
                let _ = self
                    .session
                    .set_jitter_buffer_target(self.receivers[which], (argument > 120).then_some(target));
            }
            _ if argument > 240 => {
                let _ = self.session.remove_sender(self.senders[which]);
            }
            _ => {
                let _ = self.session.stats();
            }
        }
        None
    }
}

//! What an idle connection holds in memory, layer by layer. docs/memory.md is made of what this prints.

use std::sync::Arc;
use std::time::Duration;

use antiphon_netsim::{Counting, LinkConfig};

use super::PeerConnection;
use crate::support::Pair;
use crate::transport::Transport;
use crate::{
    Bytes, Certificate, CertificateParams, ClockAnchor, Direction, MediaKind, MediaStreamTrack, Message, Packet, Rng,
    RtcConfiguration, RtcDataChannelInit, RtcRtpTransceiverInit,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What an idle end with one open data channel may hold, in bytes, its own certificate and the struct itself included.
const MAX_IDLE_DATA: usize = 22 * 1024;
/// The same with one audio and one video transceiver, over which nothing was sent yet: each source has a jitter buffer, and each
/// encoding parameters of its own.
const MAX_IDLE_MEDIA: usize = 71 * 1024;
/// What an end may hold that forwards one video of 1.4 Mbit/s, with what a NACK or feedback may still speak of.
const MAX_FORWARDING: usize = 86 * 1024;

/// A part of a connection: its size inside the struct that has it, and what it holds besides.
struct Part {
    name: &'static str,
    inside: usize,
    besides: usize,
}

/// Drops a part, and says what it was.
fn part<T>(name: &'static str, value: T) -> Part {
    let before = Counting::in_use_here();
    let inside = size_of::<T>();
    drop(value);
    Part {
        name,
        inside,
        besides: before - Counting::in_use_here(),
    }
}

/// One end of a pair with an open data channel, five minutes after its last message.
fn idle(media: bool) -> Box<PeerConnection> {
    let certificates = || vec![Arc::new(Certificate::generate(&CertificateParams::default()).unwrap())];
    let configuration = || RtcConfiguration {
        certificates: certificates(),
        ..RtcConfiguration::default()
    };
    let mut pair = Pair::with(1, LinkConfig::default(), configuration);
    if media {
        for (at, kind) in [0, 1]
            .into_iter()
            .flat_map(|at| [(at, MediaKind::Audio), (at, MediaKind::Video)])
        {
            let track = MediaStreamTrack {
                kind,
                id: format!("{kind:?}"),
                stream_ids: vec!["stream".to_owned()],
            };
            pair.call(at, |pc, _| pc.add_track(track)).unwrap();
        }
    }
    let channel = pair
        .call(0, |pc, now| {
            pc.create_data_channel(now, "chat", RtcDataChannelInit::default())
        })
        .unwrap();
    pair.negotiate(0);
    pair.connect();
    let other = pair.open(0, channel);
    pair.exchange(0, channel, other, Message::text("there"));
    pair.exchange(1, other, channel, Message::text("and back"));
    pair.run_for(Duration::from_secs(300));
    let connection = pair.call(0, |pc, now| {
        let anchor = ClockAnchor::new(now, Duration::ZERO);
        let spare = PeerConnection::new(configuration(), now, anchor, Rng::from_u64(2)).unwrap();
        std::mem::replace(pc, spare)
    });
    Box::new(connection)
}

/// Takes a connection apart, prints what each part holds, and gives the sum.
fn weigh(title: &str, connection: Box<PeerConnection>) -> usize {
    let before = Counting::in_use_here();
    let parts = take_apart(connection);
    // The struct itself lay in the box.
    let total = before - Counting::in_use_here();
    println!("{title}\n{:>8} {:>8}  part", "inside", "besides");
    for Part { name, inside, besides } in &parts {
        println!("{inside:>8} {besides:>8}  {name}");
    }
    let (size, sum) = (size_of::<PeerConnection>(), |of: fn(&Part) -> usize| {
        parts.iter().map(of).sum::<usize>()
    });
    let named = [sum(|part| part.inside), sum(|part| part.besides)];
    println!("{:>8} {:>8}  the rest", size - named[0], total - size - named[1]);
    println!("{size:>8} {:>8}  together: {total}\n", total - size);
    total
}

fn take_apart(connection: Box<PeerConnection>) -> [Part; 10] {
    let PeerConnection {
        signaling,
        ice_restart,
        transport,
        transceivers,
        media,
        data,
        events,
        local_candidates,
        ..
    } = *connection;
    let Transport {
        agent,
        dtls,
        connected,
        srtp,
        config,
        ..
    } = transport;
    [
        part(
            "descriptions as trees (jsep, sdp)",
            (signaling, ice_restart, local_candidates),
        ),
        part("candidates, pairs, timers (ice)", agent),
        part("keys, flights, records (dtls)", dtls),
        part("the peer's certificate (dtls)", connected),
        part("configuration and our certificate (dtls)", config),
        part("keys and replay windows (srtp)", srtp),
        part("RTP session (media)", media),
        part("transceivers (peer-connection)", transceivers),
        part("channels and association (data-channel, sctp)", data),
        part("events that wait (peer-connection)", events),
    ]
}

/// An end that has sent a picture of six packets each 40 ms for half a minute, as a forwarder does: 1.4 Mbit/s.
fn forwarding() -> Box<PeerConnection> {
    let configuration = || RtcConfiguration {
        certificates: vec![Arc::new(Certificate::generate(&CertificateParams::default()).unwrap())],
        ..RtcConfiguration::default()
    };
    let mut pair = Pair::with(1, LinkConfig::default(), configuration);
    let init = RtcRtpTransceiverInit::new(Direction::SendOnly);
    let id = pair
        .call(0, |pc, _| pc.add_transceiver(MediaKind::Video, init))
        .unwrap();
    pair.negotiate(0);
    pair.connect();
    let payload_type = pair.pc(0).payload_type(id, "VP8").unwrap();
    let payload = Bytes::from(vec![0x10; 1150]);
    for number in 0..750 {
        for part in 0..6 {
            pair.call(0, |pc, now| {
                let packet = Packet {
                    ssrc: 7,
                    rid: None,
                    payload_type,
                    sequence: 1000 + 6 * number + part,
                    timestamp: 3600 * number as u32,
                    marker: part == 5,
                    payload: payload.clone(),
                    front: None,
                    key_frame: false,
                    extensions: Default::default(),
                    contributors: None,
                    received: now,
                    captured: None,
                };
                pc.send_rtp(now, id, &packet)
            })
            .unwrap();
        }
        pair.run_for(Duration::from_millis(40));
    }
    let connection = pair.call(0, |pc, now| {
        let anchor = ClockAnchor::new(now, Duration::ZERO);
        let spare = PeerConnection::new(configuration(), now, anchor, Rng::from_u64(2)).unwrap();
        std::mem::replace(pc, spare)
    });
    Box::new(connection)
}

#[test]
fn an_end_that_forwards_holds_little() {
    let total = weigh("video of 1.4 Mbit/s goes out", forwarding());
    assert!(total <= MAX_FORWARDING, "{total} bytes");
}

#[test]
fn an_idle_end_holds_little() {
    let data = weigh("one data channel", idle(false));
    let media = weigh("one data channel, audio and video", idle(true));
    assert!(data <= MAX_IDLE_DATA, "{data} bytes, one data channel");
    assert!(media <= MAX_IDLE_MEDIA, "{media} bytes, with audio and video");
}

//! Sound and pictures through whole peers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::Pair;
use antiphon_netsim::{Limit, LinkConfig};
use antiphon_peer_connection::{
    Bytes, DEFAULT_TONE, DEFAULT_TONE_GAP, Direction, Error, Event, FecAmount, Frame, MediaCapabilities, MediaKind,
    MediaStreamTrack, Message, Output, Packet, PeerConnection, Play, RedDistance, Redundancy, RtcConfiguration,
    RtcDataChannelInit, RtcPriorityType, RtcRtpEncodingParameters, RtcRtpTransceiverInit, SendRedundancy, TonePhase,
    TransceiverId,
};

/// Something that looks like VP8 (RFC 6386 §9.1): the frame tag, and for key frames start code and size. The rest tells
/// frames apart.
fn picture(number: u32, key_frame: bool, len: usize) -> Bytes {
    let mut data = vec![0; len];
    data[0] = if key_frame { 0x10 } else { 0x11 };
    if key_frame {
        data[3..10].copy_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
    }
    data[10..14].copy_from_slice(&number.to_be_bytes());
    for (index, byte) in data.iter_mut().enumerate().skip(14) {
        *byte = (index as u32).wrapping_mul(31).wrapping_add(number) as u8;
    }
    data.into()
}

pub(crate) struct Call {
    pub(crate) pair: Pair,
    pub(crate) audio: TransceiverId,
    pub(crate) video: TransceiverId,
    /// Frames that `from` sent, by kind: content by number.
    sent: [Vec<Bytes>; 2],
    wants_key_frame: bool,
    from: usize,
}

impl Call {
    fn new(seed: u64, link: LinkConfig, from: usize, offerer: usize) -> Self {
        Self::with(Pair::with_link(seed, link), from, offerer)
    }

    pub(crate) fn with(mut pair: Pair, from: usize, offerer: usize) -> Self {
        let track = |kind, id: &str| MediaStreamTrack {
            kind,
            id: id.into(),
            stream_ids: vec!["stream".into()],
        };
        if offerer != from {
            for kind in [MediaKind::Audio, MediaKind::Video] {
                pair.call(offerer, |pc, _| {
                    pc.add_transceiver(kind, RtcRtpTransceiverInit::new(Direction::RecvOnly))
                })
                .unwrap();
            }
        }
        let audio = pair
            .call(from, |pc, _| pc.add_track(track(MediaKind::Audio, "sound")))
            .unwrap();
        let video = pair
            .call(from, |pc, _| pc.add_track(track(MediaKind::Video, "pictures")))
            .unwrap();
        pair.negotiate(offerer);
        pair.connect();
        Self {
            pair,
            audio,
            video,
            sent: [Vec::new(), Vec::new()],
            wants_key_frame: true,
            from,
        }
    }

    /// The next picture can be decoded alone.
    pub(crate) fn want_key_frame(&mut self) {
        self.wants_key_frame = true;
    }

    /// Says how much the pictures could use, in bits a second.
    pub(crate) fn set_max_bitrate(&mut self, bps: u64) {
        let (from, video) = (self.from, self.video);
        let mut parameters = self.pair.call(from, |pc, _| pc.get_parameters(video)).unwrap();
        parameters.encodings[0].max_bitrate = Some(bps);
        self.pair
            .call(from, |pc, now| pc.set_parameters(now, video, parameters))
            .unwrap();
    }

    /// Lets `duration` pass with 25 pictures and 50 packets of sound a second.
    pub(crate) fn play(&mut self, duration: Duration) {
        let (audio, video, from) = (self.audio, self.video, self.from);
        let opus = self.pair.pc(from).payload_type(audio, "opus").unwrap();
        let vp8 = self.pair.pc(from).payload_type(video, "VP8").unwrap();
        for tick in 0..duration.as_millis() / 20 {
            let number = self.sent[0].len() as u32;
            let data = Bytes::from([&number.to_be_bytes()[..], &[5; 60]].concat());
            self.sent[0].push(data.clone());
            let sound = Frame::new(opus, number * 960, data);
            self.pair
                .call(from, |pc, now| pc.send_frame(now, audio, sound))
                .unwrap();
            if tick % 2 == 0 {
                let number = self.sent[1].len() as u32;
                let key_frame = std::mem::take(&mut self.wants_key_frame);
                let data = picture(number, key_frame, if key_frame { 6000 } else { 1800 });
                self.sent[1].push(data.clone());
                let picture = Frame::new(vp8, number * 3600, data);
                self.pair
                    .call(from, |pc, now| pc.send_frame(now, video, picture))
                    .unwrap();
            }
            let asked = self.pair.log[from].len();
            self.pair.run_for(Duration::from_millis(20));
            if self.pair.log[from][asked..]
                .iter()
                .any(|event| *event == Event::KeyFrameRequested(video.into()))
            {
                self.wants_key_frame = true;
            }
        }
    }

    /// The numbers of the frames that came, by kind; asserts that each is what was sent.
    fn received(&self) -> [Vec<u32>; 2] {
        let to = 1 - self.from;
        let mut kinds = BTreeMap::new();
        let mut received = [Vec::new(), Vec::new()];
        for event in &self.pair.log[to] {
            match event {
                Event::Track { transceiver, kind, .. } => {
                    kinds.insert(*transceiver, *kind);
                }
                Event::Frame { transceiver, frame, .. } => {
                    let (at, offset) = match kinds[transceiver] {
                        MediaKind::Audio => (0, 0),
                        MediaKind::Video => (1, 10),
                    };
                    let number = u32::from_be_bytes(frame.data[offset..offset + 4].try_into().unwrap());
                    assert_eq!(frame.data, self.sent[at][number as usize]);
                    received[at].push(number);
                }
                _ => {}
            }
        }
        received
    }
}

#[test]
fn every_frame_arrives_in_order_on_a_clean_path() {
    for (from, offerer) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut call = Call::new(1, LinkConfig::default(), from, offerer);
        call.play(Duration::from_secs(2));
        call.pair.run_for(Duration::from_secs(1));
        let [audio, video] = call.received();
        assert_eq!(audio, (0..100).collect::<Vec<_>>(), "{from} {offerer}");
        assert_eq!(video, (0..50).collect::<Vec<_>>(), "{from} {offerer}");
        let to = 1 - from;
        assert_eq!(
            call.pair.count(to, |event| matches!(event, Event::TrackUnmuted { .. })),
            2
        );
    }
}

#[test]
fn what_is_lost_is_sent_again() {
    for seed in 0..20 {
        let loss = (seed % 5) as f64 * 0.05;
        let link = LinkConfig {
            delay: Duration::from_millis(10 + seed),
            loss,
            reorder: 0.02,
            ..LinkConfig::default()
        };
        let mut call = Call::new(seed, link, (seed % 2) as usize, (seed / 2 % 2) as usize);
        call.play(Duration::from_secs(4));
        call.pair.run_for(Duration::from_secs(2));
        let [audio, video] = call.received();
        assert!(video.is_sorted(), "{video:?}");
        // Sound is not repaired; pictures are, and where that fails a key frame mends it.
        assert!(
            audio.len() as f64 >= 200.0 * (1.0 - loss) - 25.0,
            "seed {seed}: {}",
            audio.len()
        );
        assert!(
            video.len() >= 90,
            "seed {seed}, loss {loss}: {} of 100 pictures",
            video.len()
        );
    }
}

#[test]
fn what_is_lost_was_sent_before_anybody_asks() {
    let red = Redundancy {
        red: true,
        ..Redundancy::default()
    };
    let of_video = |which: fn(&mut Redundancy)| {
        let mut own = red;
        which(&mut own);
        own
    };
    for (at, which) in [
        of_video(|own| own.flexfec_03 = true),
        of_video(|own| own.flexfec = true),
        of_video(|own| own.ulpfec = true),
    ]
    .into_iter()
    .enumerate()
    {
        let link = LinkConfig {
            delay: Duration::from_millis(30),
            loss: 0.05,
            ..LinkConfig::default()
        };
        let configuration = || {
            let mut own = RtcConfiguration::default();
            own.settings.capabilities = MediaCapabilities::default().with_redundancy(which).into();
            own.settings.media.redundancy = SendRedundancy {
                red: RedDistance::Fixed(2),
                fec: FecAmount::Percent(50),
            };
            own
        };
        let pair = Pair::with(20 + at as u64, link, configuration);
        let mut call = Call::with(pair, at % 2, 0);
        call.play(Duration::from_secs(20));
        call.pair.run_for(Duration::from_secs(2));
        let [sound, _] = call.received();
        // All but what was lost three times in a row.
        assert!(sound.len() >= 998, "{} of 1000 sounds", sound.len());
        let now = call.pair.net.network.now();
        let stats = [call.from, 1 - call.from].map(|end| call.pair.pc(end).get_stats(now));
        for sent in stats[0].outbound_rtp() {
            assert!(sent.fec_packets_sent > 200, "{which:?}: {}", sent.fec_packets_sent);
            assert!(sent.fec_bytes_sent > 10_000);
        }
        assert_eq!(stats[1].inbound_rtp().count(), 2);
        for received in stats[1].inbound_rtp() {
            assert!(received.fec_packets_received > 190, "{which:?}");
            assert!(received.fec_packets_discarded < received.fec_packets_received);
        }
    }
}

#[test]
fn sending_needs_a_negotiated_direction() {
    let mut call = Call::new(2, LinkConfig::default(), 0, 0);
    let video = call.video;
    let vp8 = call.pair.pc(0).payload_type(video, "VP8").unwrap();
    let picture = Frame::new(vp8, 0, picture(0, true, 100));
    call.pair
        .call(0, |pc, _| pc.set_direction(video, Direction::Inactive))
        .unwrap();
    call.pair.negotiate(0);
    let refused = call.pair.call(0, |pc, now| pc.send_frame(now, video, picture.clone()));
    assert_eq!(refused, Err(Error::NotSending));
    call.pair
        .call(0, |pc, _| pc.set_direction(video, Direction::SendOnly))
        .unwrap();
    call.pair.negotiate(0);
    call.pair.call(0, |pc, now| pc.send_frame(now, video, picture)).unwrap();
    call.pair.run_for(Duration::from_millis(200));
    assert!(call.pair.told(1, |event| matches!(event, Event::Frame { .. })));
}

#[test]
fn packets_can_be_forwarded_and_key_frames_asked_for() {
    let mut call = Call::new(3, LinkConfig::default(), 0, 0);
    let there = call.pair.log[1].iter().find_map(|event| match event {
        Event::Track {
            transceiver,
            kind: MediaKind::Video,
            ..
        } => Some(*transceiver),
        _ => None,
    });
    let there = there.unwrap();
    call.pair
        .call(1, |pc, _| pc.set_receive_output(there, Output::Packets))
        .unwrap();
    call.pair
        .call(1, |pc, _| pc.set_direction(there, Direction::SendRecv))
        .unwrap();
    call.pair.negotiate(1);
    let back = call.video;
    call.pair
        .call(0, |pc, _| pc.set_direction(back, Direction::SendRecv))
        .unwrap();
    call.pair.negotiate(0);
    // 1 sends every packet back to 0.
    let vp8 = call.pair.pc(0).payload_type(back, "VP8").unwrap();
    let mut seen = 0;
    for number in 0..50 {
        let data = picture(number, number == 0, 3000);
        let sent = Frame::new(vp8, number * 3600, data);
        call.pair.call(0, |pc, now| pc.send_frame(now, back, sent)).unwrap();
        call.pair.run_for(Duration::from_millis(40));
        let packets: Vec<_> = call.pair.log[1]
            .drain(..)
            .filter_map(|event| match event {
                Event::Packet { packet, .. } => Some(packet),
                _ => None,
            })
            .collect();
        for packet in packets {
            seen += 1;
            call.pair.call(1, |pc, now| pc.send_rtp(now, there, &packet)).unwrap();
        }
    }
    call.pair.run_for(Duration::from_secs(1));
    assert!(seen >= 150, "{seen}");
    let frames = call.pair.count(0, |event| matches!(event, Event::Frame { .. }));
    assert!(frames >= 49, "{frames}");
    call.pair.call(1, |pc, _| pc.request_key_frame(there)).unwrap();
    call.pair.run_for(Duration::from_millis(500));
    assert!(
        call.pair
            .told(0, |event| *event == Event::KeyFrameRequested(back.into()))
    );
}

#[test]
fn data_and_media_share_a_narrow_path() {
    let link = LinkConfig {
        rate: Some(4_000_000.into()),
        queue: Limit::bytes(60_000),
        ..LinkConfig::default()
    };
    let mut call = Call::new(4, link, 0, 0);
    let channel = call
        .pair
        .call(0, |pc, now| {
            pc.create_data_channel(now, "file", RtcDataChannelInit::default())
        })
        .unwrap();
    call.pair.negotiate(0);
    let other = call.pair.open(0, channel);
    for _ in 0..8 {
        let part = Message::binary(vec![1; 100_000]);
        call.pair.call(0, |pc, now| pc.send(now, channel, part)).unwrap();
    }
    call.play(Duration::from_secs(6));
    let mut got = 0;
    while call.pair.call(1, |pc, now| pc.read(now, other)).is_some() {
        got += 1;
    }
    assert_eq!(got, 8, "the file starved");
    let [audio, video] = call.received();
    assert!(
        audio.len() > 250 && video.len() > 100,
        "{} {}",
        audio.len(),
        video.len()
    );
}

#[test]
fn statistics_tell_what_happened() {
    let mut call = Call::new(5, LinkConfig::default(), 0, 0);
    call.play(Duration::from_secs(5));
    let now = call.pair.net.now();
    let [sender, receiver] = [0, 1].map(|at| call.pair.pc(at).get_stats(now));
    let transport = sender.transport().unwrap();
    assert_eq!(transport.dtls_state, "connected");
    assert_eq!(transport.tls_version.as_deref(), Some("FEFC"));
    assert_eq!(transport.srtp_cipher, Some("SRTP_AEAD_AES_128_GCM"));
    assert!(transport.bytes_sent > 100_000);
    let pair = sender.selected_pair().unwrap();
    assert_eq!(transport.selected_candidate_pair_id.as_ref(), Some(&pair.id));
    let rtt = pair.current_round_trip_time.unwrap();
    assert!(
        rtt >= Duration::from_millis(20) && rtt < Duration::from_millis(60),
        "{rtt:?}"
    );
    for id in [&pair.local_candidate_id, &pair.remote_candidate_id] {
        assert!(sender.get(id).is_some(), "{id}");
    }
    assert_eq!((sender.outbound_rtp().count(), receiver.inbound_rtp().count()), (2, 2));
    let video = sender.outbound_rtp().find(|own| own.kind == "video").unwrap();
    assert_eq!(video.frames_sent, 125);
    let inbound = receiver.inbound_rtp().find(|own| own.ssrc == video.ssrc).unwrap();
    assert_eq!((inbound.frames_received, inbound.packets_lost), (125, 0));
    // Probes repeat what was sent, and add padding on the SSRC of repairs: the peer counts neither, and nothing is lost.
    assert_eq!(
        inbound.packets_received + video.padding_packets_sent,
        video.packets_sent
    );
    assert!(video.padding_packets_sent > 0 && video.padding_bytes_sent >= 200 * video.padding_packets_sent);
    let congestion = sender.congestion().unwrap();
    assert_eq!(congestion.controller, "GoogCC");
    assert!(congestion.probes_sent >= congestion.probes_accepted && congestion.probes_accepted > 0);
    assert!(congestion.proven_bitrate > 100_000 && congestion.fraction_lost < 0.01);
    assert!(
        congestion
            .queue_delay
            .is_some_and(|wait| wait < Duration::from_millis(20))
    );
    assert_eq!(congestion.available_outgoing_bitrate, pair.available_outgoing_bitrate);
    assert!(congestion.allocated_bitrate <= congestion.available_outgoing_bitrate);
    for entry in [&video.codec_id, &inbound.codec_id] {
        let codec = [&sender, &receiver]
            .into_iter()
            .find_map(|report| report.get(entry.as_deref()?))
            .unwrap();
        assert!(format!("{codec:?}").contains("video/VP8"), "{codec:?}");
    }
    // Reports went both ways.
    assert!(sender.get(video.remote_id.as_deref().unwrap()).is_some());
    assert!(receiver.get(inbound.remote_id.as_deref().unwrap()).is_some());
}

#[test]
fn mend04_large_packets_are_forwarded_from_end_to_end() {
    let mut call = Call::new(6, LinkConfig::default(), 0, 0);
    let there = call.pair.log[1].iter().find_map(|event| match event {
        Event::Track {
            transceiver,
            kind: MediaKind::Video,
            ..
        } => Some(*transceiver),
        _ => None,
    });
    let there = there.unwrap();
    call.pair
        .call(1, |pc, _| pc.set_receive_output(there, Output::Packets))
        .unwrap();
    let video = call.video;
    let payload_type = call.pair.pc(0).payload_type(video, "VP8").unwrap();
    let now = call.pair.net.now();
    let packet = |number: u64, len: usize| {
        let mut payload = vec![number as u8; len];
        payload[0] = 0x10;
        Packet {
            ssrc: 7,
            rid: None,
            payload_type,
            sequence: number,
            timestamp: number as u32 * 3000,
            marker: true,
            payload: payload.into(),
            front: None,
            key_frame: false,
            extensions: Default::default(),
            contributors: None,
            received: now,
            captured: None,
        }
    };
    // GStreamer's 1400 bytes, and the most that is left of Ethernet's 1500: 1472 less 40.
    for (number, size) in [(1, 1400), (2, 1472 - 40), (3, 1200)] {
        let packet = packet(number, size - 12);
        call.pair.call(0, |pc, now| pc.send_rtp(now, video, &packet)).unwrap();
    }
    let refused = packet(4, 1472);
    let refused = call.pair.call(0, |pc, now| pc.send_rtp(now, video, &refused));
    assert!(refused.is_err(), "larger than any path of ours carries");
    call.pair.run_for(Duration::from_millis(500));
    let came: Vec<usize> = call.pair.log[1]
        .iter()
        .filter_map(|event| match event {
            Event::Packet { packet, .. } => Some(packet.payload.len()),
            _ => None,
        })
        .collect();
    assert_eq!(came, [1388, 1420, 1188]);
    assert!(
        call.pair
            .told(0, |event| matches!(event, Event::PacketTooLarge { limit: 1452, .. }))
    );
    let now = call.pair.net.now();
    let sent = call.pair.pc(0).get_stats(now);
    let sent = sent.outbound_rtp().find(|own| own.kind == "video").unwrap();
    assert_eq!(sent.packets_too_large, 1);
}

#[test]
fn mend13_a_negotiated_payload_type_is_not_called_unnegotiated() {
    let mut pair = Pair::new(31);
    let video = MediaStreamTrack {
        kind: MediaKind::Video,
        id: "camera".into(),
        stream_ids: vec!["stream".into()],
    };
    let id = pair.call(0, |pc, _| pc.add_track(video)).unwrap();
    pair.negotiate(0);
    for (codec, error) in [
        ("H264", "not one of its codec"),
        ("AV1", "not one of its codec"),
        ("H264", "empty"),
    ] {
        let payload_type = pair.pc(0).payload_type(id, codec).unwrap();
        let data = Bytes::from(vec![0xe5; if error == "empty" { 0 } else { 100 }]);
        let refused = pair.call(0, |pc, now| pc.send_frame(now, id, Frame::new(payload_type, 0, data)));
        let said = refused.unwrap_err().to_string();
        assert!(said.contains(error), "{codec}: {said}");
    }
    let data = Bytes::from(vec![0x65; 100]);
    let refused = pair.call(0, |pc, now| pc.send_frame(now, id, Frame::new(127, 0, data)));
    assert!(refused.unwrap_err().to_string().contains("not negotiated"));
}

#[test]
fn one_encoding_may_be_silent() {
    let mut pair = Pair::new(3);
    let encoding = |active| RtcRtpEncodingParameters {
        active,
        ..RtcRtpEncodingParameters::layer("only")
    };
    let with = |send_encodings| RtcRtpTransceiverInit {
        send_encodings,
        ..RtcRtpTransceiverInit::default()
    };
    let mut add = |active| {
        let init = with(vec![encoding(active)]);
        pair.call(0, |pc, _| pc.add_transceiver(MediaKind::Video, init))
            .unwrap()
    };
    let (silent, loud) = (add(false), add(true));
    pair.negotiate(0);
    pair.connect();
    let mut send = |id| {
        pair.call(0, |pc, now| {
            let payload_type = pc.payload_type(id, "VP8").unwrap();
            pc.send_frame(now, id, Frame::new(payload_type, 0, picture(0, true, 100)))
        })
    };
    assert!(matches!(send(silent), Err(Error::Media(_))));
    assert_eq!(send(loud), Ok(()));
}

#[test]
fn parameters_of_a_sender_act_at_once_and_are_taken_once() {
    let mut call = Call::new(33, LinkConfig::default(), 0, 0);
    let video = call.video;
    call.play(Duration::from_secs(2));
    let events = call.pair.call(0, |pc, _| pc.target_bitrate(video));
    assert!(events.is_some_and(|bps| bps > 200_000), "{events:?}");
    let mut parameters = call.pair.call(0, |pc, _| pc.get_parameters(video)).unwrap();
    let before = parameters.clone();
    parameters.encodings[0].max_bitrate = Some(100_000);
    parameters.encodings[0].priority = RtcPriorityType::High;
    let mut set = |parameters| {
        call.pair
            .call(0, |pc, now| pc.set_parameters(now, video, parameters))
            .map_err(|error| error.name())
    };
    // Neither encodings nor names can change, and then nothing does.
    let mut more = before.clone();
    more.encodings.push(RtcRtpEncodingParameters::default());
    assert_eq!(set(more), Err("InvalidModificationError"));
    let mut other = before.clone();
    other.transaction_id = "0".into();
    assert_eq!(set(other), Err("InvalidModificationError"));
    assert_eq!(set(parameters.clone()), Ok(()));
    assert_eq!(set(parameters), Err("InvalidStateError"), "it is taken once");
    let target = call.pair.call(0, |pc, _| pc.target_bitrate(video));
    assert!(target.is_some_and(|bps| bps <= 100_000), "{target:?}");
    // Inactive: frames are refused at once, and taken again when it is active.
    for active in [false, true] {
        let mut parameters = call.pair.call(0, |pc, _| pc.get_parameters(video)).unwrap();
        assert_eq!(parameters.encodings[0].priority, RtcPriorityType::High);
        parameters.encodings[0].active = active;
        call.pair
            .call(0, |pc, now| pc.set_parameters(now, video, parameters))
            .unwrap();
        let sent = call.pair.call(0, |pc, now| {
            let payload_type = pc.payload_type(video, "VP8").unwrap();
            pc.send_frame(now, video, Frame::new(payload_type, 0, picture(0, true, 100)))
        });
        assert_eq!(sent.is_ok(), active);
    }
}

#[test]
fn keys_of_a_telephone_are_played_and_heard() {
    let mut call = Call::new(31, LinkConfig::default(), 0, 0);
    let (audio, video) = (call.audio, call.video);
    let millis = Duration::from_millis;
    let insert = |call: &mut Call, id, tones: &'static str| {
        call.pair.call(0, |pc, now| {
            pc.insert_dtmf(now, id, tones, DEFAULT_TONE, DEFAULT_TONE_GAP)
        })
    };
    assert!(call.pair.pc(0).can_insert_dtmf(audio) && !call.pair.pc(0).can_insert_dtmf(video));
    call.play(millis(100));
    assert_eq!(
        insert(&mut call, audio, "1!").map_err(|error| error.name()),
        Err("InvalidCharacterError")
    );
    assert_eq!(
        insert(&mut call, video, "1").map_err(|error| error.name()),
        Err("InvalidStateError")
    );
    insert(&mut call, audio, "1,d").unwrap();
    assert_eq!(call.pair.pc(0).tone_buffer(audio), ",D");
    call.play(millis(3000));
    let tones: Vec<_> = call.pair.log[0]
        .iter()
        .filter_map(|event| match event {
            Event::ToneChange { transceiver, tone } => {
                assert_eq!(*transceiver, audio);
                Some(*tone)
            }
            _ => None,
        })
        .collect();
    assert_eq!(tones, [Some('1'), Some(','), Some('D'), None]);
    let heard: Vec<_> = call.pair.log[1]
        .iter()
        .filter_map(|event| match event {
            Event::Tone { tone, .. } => Some((tone.key(), tone.phase)),
            _ => None,
        })
        .collect();
    let ended = TonePhase::Ended {
        lasted: millis(100),
        is_confirmed: true,
    };
    let [began, ended] = [TonePhase::Began, ended];
    assert_eq!(
        heard,
        [
            (Some('1'), began),
            (Some('1'), ended),
            (Some('D'), began),
            (Some('D'), ended)
        ]
    );
    call.pair.call(0, |pc, _| pc.stop_transceiver(audio)).unwrap();
    assert_eq!(
        insert(&mut call, audio, "1").map_err(|error| error.name()),
        Err("InvalidStateError")
    );
}

#[test]
fn what_is_played_comes_when_it_is_due() {
    let mut call = Call::new(6, LinkConfig::default(), 0, 0);
    let tracks: Vec<_> = call.pair.log[1]
        .iter()
        .filter_map(|event| match event {
            Event::Track { transceiver, .. } => Some(*transceiver),
            _ => None,
        })
        .collect();
    assert_eq!(tracks.len(), 2);
    for track in tracks {
        let set = |target| move |pc: &mut PeerConnection, _| pc.set_jitter_buffer_target(track, target);
        let refused = call.pair.call(1, set(Some(Duration::from_secs(5)))).unwrap_err();
        assert_eq!(refused.name(), "RangeError");
        call.pair.call(1, set(Some(Duration::from_millis(200)))).unwrap();
        call.pair
            .call(1, |pc, _| pc.set_receive_output(track, Output::Playout))
            .unwrap();
    }
    // The wish outlives an exchange.
    call.pair.negotiate(0);
    call.play(Duration::from_secs(10));
    let (mut heard, mut made_up, mut shown) = (Duration::ZERO, 0, 0);
    for event in &call.pair.log[1] {
        match event {
            Event::Sound { sound, .. } => {
                heard += sound.duration;
                made_up += usize::from(matches!(sound.play, Play::Conceal { .. }));
            }
            Event::Frame { .. } => shown += 1,
            _ => {}
        }
    }
    let expected = Duration::from_millis(9600)..=Duration::from_millis(9900);
    assert!(expected.contains(&heard), "{heard:?}");
    assert!((240..=246).contains(&shown), "{shown}");
    assert_eq!(made_up, 0);
}

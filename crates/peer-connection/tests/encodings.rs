//! Several encodings of one track, from the parameters of a sender to the layers that the peer gets.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::Pair;
use antiphon_netsim::LinkConfig;
use antiphon_peer_connection::{
    Bytes, Direction, EncodingId, EncodingState, Error, Event, Frame, MediaKind, MediaStreamTrack, Output,
    RtcConfiguration, RtcRtpEncodingParameters, RtcRtpSendParameters, RtcRtpTransceiverInit, TransceiverId,
};

/// A frame of VP8 (RFC 6386 §9.1) of this length.
fn picture(key_frame: bool, len: usize) -> Bytes {
    let mut data = vec![0; len];
    data[0] = if key_frame { 0x10 } else { 0x11 };
    if key_frame {
        data[3..10].copy_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
    }
    data.into()
}

fn camera(id: &str) -> MediaStreamTrack {
    MediaStreamTrack {
        kind: MediaKind::Video,
        id: id.into(),
        stream_ids: vec!["stream".into()],
    }
}

/// One who sends simulcast, and the layers that the other end hears.
struct Simulcast {
    pair: Pair,
    video: TransceiverId,
    ticks: u32,
}

impl Simulcast {
    /// A connected pair of which the first sends these layers, and the second has answered an offer that was changed by `change`.
    fn new(layers: &[&str], change: impl Fn(&str) -> String) -> Self {
        let encodings = layers.iter().map(|rid| RtcRtpEncodingParameters::layer(*rid)).collect();
        Self::with(encodings, change)
    }

    fn with(send_encodings: Vec<RtcRtpEncodingParameters>, change: impl Fn(&str) -> String) -> Self {
        let link = LinkConfig {
            delay: Duration::from_millis(10),
            ..LinkConfig::default()
        };
        let mut pair = Pair::with(7, link, || {
            let mut configuration = RtcConfiguration::default();
            configuration.settings.receive_output = Output::Packets;
            configuration
        });
        let init = RtcRtpTransceiverInit {
            direction: Direction::SendOnly,
            streams: vec!["stream".into()],
            track_id: Some("camera".into()),
            send_encodings,
            ..RtcRtpTransceiverInit::default()
        };
        let video = pair
            .call(0, |pc, _| pc.add_transceiver(MediaKind::Video, init))
            .unwrap();
        pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
        let mut offer = pair.pc(0).local_description().unwrap();
        offer.sdp = change(&offer.sdp);
        pair.answer(1, offer);
        pair.connect();
        Self { pair, video, ticks: 0 }
    }

    fn states(&self) -> Vec<EncodingState> {
        let encodings = self.pair.pc(0).encodings(self.video).unwrap();
        encodings.iter().map(|own| own.state).collect()
    }

    /// One picture of each encoding that is wanted, as who has an encoder for each would make them, every 20 ms.
    fn play(&mut self, duration: Duration) {
        let video = self.video;
        for _ in 0..duration.as_millis() / 20 {
            let ticks = self.ticks;
            self.pair.call(0, |pc, now| {
                for encoding in pc.encodings(video).unwrap() {
                    if !encoding.is_wanted() {
                        continue;
                    }
                    let codec = encoding.codec.unwrap();
                    assert_eq!(codec.name, "VP8");
                    let len = (2000.0 / encoding.scale_resolution_down_by.unwrap()) as usize;
                    let frame = Frame::new(codec.payload_type, ticks * 1800, picture(ticks == 0, len));
                    pc.send_frame(now, encoding.id, frame).unwrap();
                }
            });
            self.ticks += 1;
            self.pair.run_for(Duration::from_millis(20));
        }
    }

    /// How many bytes came of each layer since this was asked last.
    fn received(&mut self) -> BTreeMap<String, usize> {
        let mut received = BTreeMap::new();
        for event in self.pair.log[1].drain(..) {
            if let Event::Packet { packet, .. } = event {
                let rid = packet.rid.map(|rid| rid.to_string()).unwrap_or_default();
                *received.entry(rid).or_default() += packet.payload.len();
            }
        }
        received
    }

    /// The layers that came since this was asked last.
    fn layers(&mut self) -> Vec<String> {
        self.received().into_keys().collect()
    }

    fn change(&mut self, change: impl Fn(&mut RtcRtpSendParameters)) -> Result<(), Error> {
        let video = self.video;
        self.pair.call(0, |pc, now| {
            let mut parameters = pc.get_parameters(video)?;
            change(&mut parameters);
            pc.set_parameters(now, video, parameters)
        })
    }
}

#[test]
fn three_encodings_arrive_as_three_layers() {
    let mut call = Simulcast::new(&["q", "h", "f"], str::to_owned);
    assert_eq!(call.states(), [EncodingState::Wanted; 3]);
    call.play(Duration::from_secs(2));
    let received = call.received();
    let layers: Vec<&str> = received.keys().map(String::as_str).collect();
    assert_eq!(layers, ["f", "h", "q"]);
    // 100 pictures of each, whose descriptors count too.
    for (rid, len) in [("q", 500), ("h", 1000), ("f", 2000)] {
        assert!((100 * len..110 * len).contains(&received[rid]), "{received:?}");
    }
    // A request names the layer that it is for, and so does the rate.
    call.pair.call(1, |pc, _| {
        let id = pc.transceivers().next().unwrap().id();
        pc.request_key_frame(id).unwrap();
    });
    call.play(Duration::from_millis(500));
    let video = call.video;
    for rid in ["q", "h", "f"] {
        let is_it = |id: &EncodingId| id.transceiver == video && id.rid.is_some_and(|own| own.as_str() == rid);
        let asked = |event: &Event| matches!(event, Event::KeyFrameRequested(id) if is_it(id));
        assert!(call.pair.told(0, asked), "{rid}");
        let rated = |event: &Event| matches!(event, Event::TargetBitrate { encoding, .. } if is_it(encoding));
        assert!(call.pair.told(0, rated), "{rid}");
    }
}

#[test]
fn parameters_and_tracks_act_within_a_tenth_of_a_second() {
    let mut call = Simulcast::new(&["q", "h", "f"], str::to_owned);
    call.play(Duration::from_secs(1));
    let soon = Duration::from_millis(100);

    call.change(|parameters| parameters.encodings[1].active = false)
        .unwrap();
    assert_eq!(call.states()[1], EncodingState::Inactive);
    call.play(soon);
    call.received();
    call.play(soon);
    assert_eq!(call.layers(), ["f", "q"]);

    call.change(|parameters| parameters.encodings[1].active = true).unwrap();
    call.play(soon);
    assert_eq!(call.layers(), ["f", "h", "q"]);

    call.change(|parameters| parameters.encodings[2].max_bitrate = Some(90_000))
        .unwrap();
    call.pair.run_for(soon);
    let target = call.pair.pc(0).encodings(call.video).unwrap()[2].target_bitrate;
    assert!(target.is_some_and(|bps| bps <= 90_000), "{target:?}");

    let video = call.video;
    let replace = |call: &mut Simulcast, track: Option<MediaStreamTrack>| {
        call.pair.call(0, |pc, now| pc.replace_track(now, video, track))
    };
    let before = call.pair.log[0].len();
    replace(&mut call, None).unwrap();
    assert_eq!(call.states(), [EncodingState::NoTrack; 3]);
    call.play(soon);
    call.received();
    call.play(soon);
    assert!(call.layers().is_empty());
    let sound = MediaStreamTrack {
        kind: MediaKind::Audio,
        ..camera("sound")
    };
    let refused = replace(&mut call, Some(sound)).map_err(|error| error.name());
    assert_eq!(refused, Err("TypeError"));
    replace(&mut call, Some(camera("screen"))).unwrap();
    assert_eq!(call.states(), [EncodingState::Wanted; 3]);
    call.play(soon);
    assert_eq!(call.layers(), ["f", "h", "q"]);
    let negotiates = |event: &Event| *event == Event::NegotiationNeeded;
    assert!(!call.pair.log[0][before..].iter().any(negotiates), "nobody is asked");
}

#[test]
fn another_track_follows_in_time_on_the_last() {
    let mut call = Simulcast::with(Vec::new(), str::to_owned);
    call.play(Duration::from_millis(200));
    let video = call.video;
    call.pair
        .call(0, |pc, now| pc.replace_track(now, video, Some(camera("screen"))))
        .unwrap();
    // Its clock has nothing to do with that of the first.
    call.ticks += 1_000_000;
    call.play(Duration::from_millis(200));
    call.pair.run_for(Duration::from_millis(100));
    let stamps = call.pair.log[1].iter().filter_map(|event| match event {
        Event::Packet { packet, .. } => Some(packet.timestamp),
        _ => None,
    });
    let mut stamps: Vec<u32> = stamps.collect();
    stamps.dedup();
    assert_eq!(stamps.len(), 20);
    let steps: Vec<u32> = stamps.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert_eq!(steps, [1800; 19]);
}

#[test]
fn a_peer_takes_as_many_layers_as_it_likes() {
    // Two of three.
    let mut call = Simulcast::new(&["q", "h", "f"], |offer| {
        offer.replace("a=simulcast:send q;h;f", "a=simulcast:send q;h")
    });
    use EncodingState::{NotTaken, Wanted};
    assert_eq!(call.states(), [Wanted, Wanted, NotTaken]);
    call.play(Duration::from_millis(500));
    assert_eq!(call.layers(), ["h", "q"]);
    let unknown = call.pair.call(0, |pc, now| {
        let id = pc.encodings(call.video).unwrap()[2].id;
        pc.send_frame(now, id, Frame::new(96, 0, picture(true, 100)))
    });
    assert_eq!(unknown, Err(Error::NoEncoding));

    // None: the first that is active is sent alone, under no name.
    let mut layers: Vec<_> = ["q", "h", "f"].map(RtcRtpEncodingParameters::layer).into();
    layers[0].active = false;
    let mut call = Simulcast::with(layers, |offer| {
        let kept = offer
            .split_inclusive("\r\n")
            .filter(|line| !line.starts_with("a=simulcast:"));
        kept.collect()
    });
    assert_eq!(call.states(), [NotTaken, Wanted, NotTaken]);
    call.play(Duration::from_millis(500));
    assert_eq!(call.layers(), [""]);
}

#[test]
fn what_the_peer_pauses_or_limits_is_kept_to() {
    let mut call = Simulcast::new(&["q", "h", "f"], str::to_owned);
    // The peer takes all, one of them later, one within limits, and one in H.264 alone.
    call.pair
        .call(0, |pc, now| pc.set_local_description(now, None))
        .unwrap();
    let offer = call.pair.pc(0).local_description().unwrap();
    call.pair
        .call(1, |pc, now| pc.set_remote_description(now, offer))
        .unwrap();
    call.pair
        .call(1, |pc, now| pc.set_local_description(now, None))
        .unwrap();
    let mut answer = call.pair.pc(1).local_description().unwrap();
    let h264 = call.pair.pc(0).payload_type(call.video, "H264").unwrap();
    for (from, to) in [
        ("a=simulcast:recv q;h;f", "a=simulcast:recv q;~h;f"),
        (
            "a=rid:q recv",
            "a=rid:q recv max-br=64000;max-fps=7.5;max-width=320;max-height=180",
        ),
        ("a=rid:f recv", &format!("a=rid:f recv pt={h264}")),
    ] {
        assert!(answer.sdp.contains(from), "{}", answer.sdp);
        answer.sdp = answer.sdp.replacen(from, to, 1);
    }
    call.pair
        .call(0, |pc, now| pc.set_remote_description(now, answer))
        .unwrap();
    call.pair.signal();
    use EncodingState::{Paused, Wanted};
    assert_eq!(call.states(), [Wanted, Paused, Wanted]);
    let video = call.video;
    let encodings = call.pair.pc(0).encodings(video).unwrap();
    assert_eq!(encodings[0].max_framerate, Some(7.5));
    assert_eq!(
        (encodings[0].max_width, encodings[0].max_height),
        (Some(320), Some(180))
    );
    let codecs: Vec<&str> = encodings
        .iter()
        .filter_map(|own| Some(&*own.codec.as_ref()?.name))
        .collect();
    assert_eq!(codecs, ["VP8", "VP8", "H264"]);
    let vp8 = call.pair.pc(0).payload_type(video, "VP8").unwrap();
    let refused = call.pair.call(0, |pc, now| {
        pc.send_frame(now, encodings[2].id, Frame::new(vp8, 0, picture(true, 100)))
    });
    assert!(matches!(refused, Err(Error::Media(_))), "{refused:?}");
    let sent = call.pair.call(0, |pc, now| {
        let key_frame = [
            &[0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 0, 1, 0x68, 1, 2, 0, 0, 0, 1, 0x65][..],
            &[7; 200],
        ]
        .concat();
        pc.send_frame(now, encodings[2].id, Frame::new(h264, 0, key_frame))
    });
    assert_eq!(sent, Ok(()));
    call.change(|own| own.encodings[2].active = false).unwrap();
    call.play(Duration::from_secs(2));
    let target = call.pair.pc(0).encodings(video).unwrap()[0].target_bitrate;
    assert!(target.is_some_and(|bps| bps <= 64_000), "{target:?}");
}

#[test]
fn each_encoding_may_have_a_codec_of_its_own() {
    let mut encodings: Vec<_> = ["q", "f"].map(RtcRtpEncodingParameters::layer).into();
    encodings[0].codec = Some("VP9".into());
    let mut call = Simulcast::with(encodings, str::to_owned);
    let video = call.video;
    let codecs = |call: &Simulcast| {
        let encodings = call.pair.pc(0).encodings(video).unwrap();
        let names = encodings.iter().map(|own| own.codec.as_ref().unwrap().name.clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(codecs(&call), ["VP9", "VP8"]);
    let send = |call: &mut Simulcast, name: &str| {
        let (payload_type, id) = {
            let pc = call.pair.pc(0);
            (
                pc.payload_type(video, name).unwrap(),
                pc.encodings(video).unwrap()[0].id,
            )
        };
        let frame = Frame::new(payload_type, 0, picture(true, 100));
        call.pair.call(0, |pc, now| pc.send_frame(now, id, frame)).is_ok()
    };
    assert!(send(&mut call, "VP9") && !send(&mut call, "VP8"));
    // It can be another one from one moment to the next, of those that are negotiated.
    call.change(|own| own.encodings[0].codec = Some("VP8".into())).unwrap();
    assert_eq!(codecs(&call), ["VP8", "VP8"]);
    assert!(send(&mut call, "VP8") && !send(&mut call, "VP9"));
    call.change(|own| own.encodings[0].codec = None).unwrap();
    assert!(send(&mut call, "VP8") && send(&mut call, "VP9"));
}

#[test]
fn sound_with_a_codec_of_its_own_still_has_keys() {
    let mut pair = Pair::new(9);
    let init = RtcRtpTransceiverInit {
        send_encodings: vec![RtcRtpEncodingParameters {
            codec: Some("PCMU".into()),
            ..RtcRtpEncodingParameters::default()
        }],
        ..RtcRtpTransceiverInit::new(Direction::SendOnly)
    };
    let audio = pair
        .call(0, |pc, _| pc.add_transceiver(MediaKind::Audio, init))
        .unwrap();
    pair.negotiate(0);
    pair.connect();
    let encodings = pair.pc(0).encodings(audio).unwrap();
    assert_eq!(encodings[0].codec.as_ref().map(|codec| &*codec.name), Some("PCMU"));
    assert_eq!(encodings[0].scale_resolution_down_by, None);
    assert!(pair.pc(0).can_insert_dtmf(audio));
    let opus = pair.pc(0).payload_type(audio, "opus").unwrap();
    let refused = pair.call(0, |pc, now| pc.send_frame(now, audio, Frame::new(opus, 0, vec![1; 20])));
    assert!(matches!(refused, Err(Error::Media(_))), "{refused:?}");
}

/// A pair of which the second asks for these layers, and the first has a track to send.
fn asked(rids: &[&str]) -> (Pair, TransceiverId) {
    let mut pair = Pair::with(8, LinkConfig::default(), || {
        let mut configuration = RtcConfiguration::default();
        configuration.settings.receive_output = Output::Packets;
        configuration
    });
    let init = RtcRtpTransceiverInit {
        receive_rids: rids.iter().map(|rid| (*rid).to_owned()).collect(),
        ..RtcRtpTransceiverInit::new(Direction::RecvOnly)
    };
    pair.call(1, |pc, _| pc.add_transceiver(MediaKind::Video, init))
        .unwrap();
    let video = pair.call(0, |pc, _| pc.add_track(camera("camera"))).unwrap();
    (pair, video)
}

#[test]
fn a_forwarder_asks_for_layers_and_gets_them() {
    let (mut pair, video) = asked(&["q", "h", "f"]);
    pair.negotiate(1);
    let offer = pair.pc(1).local_description().unwrap().sdp;
    assert!(offer.contains("a=simulcast:recv q;h;f\r\n"), "{offer}");
    let answer = pair.pc(0).local_description().unwrap().sdp;
    assert!(answer.contains("a=simulcast:send q;h;f\r\n"), "{answer}");
    pair.connect();
    let mut call = Simulcast { pair, video, ticks: 0 };
    let scales: Vec<_> = call.pair.pc(0).encodings(video).unwrap();
    let scales: Vec<_> = scales.iter().map(|own| own.scale_resolution_down_by.unwrap()).collect();
    assert_eq!(scales, [4.0, 2.0, 1.0]);
    call.play(Duration::from_millis(500));
    let mut places: Vec<_> = call.pair.log[1]
        .iter()
        .filter_map(|event| match event {
            Event::TrackUnmuted { rid, layer, .. } => Some((rid.unwrap().to_string(), layer.unwrap())),
            _ => None,
        })
        .collect();
    places.sort_by_key(|(_, layer)| *layer);
    assert_eq!(places, [("q".into(), 0), ("h".into(), 1), ("f".into(), 2)]);
    assert_eq!(call.layers(), ["f", "h", "q"]);
    // A later offer, of either side, keeps them.
    for offerer in [0, 1] {
        call.pair.negotiate(offerer);
        call.play(Duration::from_millis(200));
        assert_eq!(call.layers(), ["f", "h", "q"], "offered by {offerer}");
    }
}

#[test]
fn what_an_offer_asked_for_goes_with_it() {
    let (mut pair, video) = asked(&["q", "h"]);
    pair.call(1, |pc, now| pc.set_local_description(now, None)).unwrap();
    let offer = pair.pc(1).local_description().unwrap();
    pair.call(0, |pc, now| pc.set_remote_description(now, offer)).unwrap();
    assert_eq!(pair.pc(0).encodings(video).unwrap().len(), 2);
    let rollback = antiphon_peer_connection::RtcSessionDescription::rollback();
    pair.call(0, |pc, now| pc.set_remote_description(now, rollback))
        .unwrap();
    let encodings = pair.pc(0).encodings(video).unwrap();
    assert_eq!(encodings.len(), 1);
    assert_eq!(encodings[0].id, video);
}

#[test]
fn layers_that_have_no_names_are_told_by_their_place() {
    // As old Chromium wrote it: one section, three SSRCs, and a group.
    let (mut pair, video) = asked(&[]);
    let other = pair.call(0, |pc, _| pc.add_track(camera("second"))).unwrap();
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    let mut offer = pair.pc(0).local_description().unwrap();
    let ssrc = |id| pair.pc(0).transceiver(id).unwrap().sender().encodings[0].ssrc;
    let (first, second) = (ssrc(video), ssrc(other));
    let end = offer.sdp.find("m=video").unwrap();
    let second_section = end + 1 + offer.sdp[end + 1..].find("m=video").unwrap();
    let lines = format!("a=ssrc-group:SIM 7 {first} 9\r\na=ssrc:7 cname:x\r\na=ssrc:9 cname:x\r\n");
    offer.sdp.insert_str(second_section, &lines);
    pair.answer(1, offer);
    pair.connect();
    for (at, id) in (0..).zip([video, other]) {
        pair.call(0, |pc, now| {
            let vp8 = pc.payload_type(id, "VP8").unwrap();
            pc.send_frame(now, id, Frame::new(vp8, at, picture(true, 100)))
        })
        .unwrap();
    }
    pair.run_for(Duration::from_millis(100));
    let told = |ssrc, place| {
        let is_it = |event: &Event| matches!(event, Event::TrackUnmuted { ssrc: own, rid: None, layer, .. } if *own == ssrc && *layer == place);
        pair.told(1, is_it)
    };
    assert!(told(first, Some(1)));
    assert!(told(second, None), "it is in no group");
}

#[test]
fn parameters_of_several_encodings_come_back_as_they_were() {
    let mut call = Simulcast::new(&["q", "f"], str::to_owned);
    let video = call.video;
    let refused = |call: &mut Simulcast, change: fn(&mut RtcRtpSendParameters)| {
        call.change(change).map_err(|error| error.name()).unwrap_err()
    };
    let unmodified: [fn(&mut RtcRtpSendParameters); 6] = [
        |own| own.encodings.swap(0, 1),
        |own| own.encodings[0].rid = Some("x".into()),
        |own| _ = own.codecs.pop(),
        |own| _ = own.header_extensions.pop(),
        |own| own.rtcp.cname.push('x'),
        |own| own.encodings[0].codec = Some("H266".into()),
    ];
    for change in unmodified {
        assert_eq!(refused(&mut call, change), "InvalidModificationError");
    }
    assert_eq!(
        refused(&mut call, |own| own.encodings[0].scale_resolution_down_by = Some(0.9)),
        "RangeError"
    );
    assert_eq!(
        refused(&mut call, |own| own.encodings[0].max_framerate = Some(-1.0)),
        "RangeError"
    );
    assert_eq!(
        refused(&mut call, |own| own.encodings[0].scalability_mode = Some("L9T9".into())),
        "OperationError"
    );
    call.change(|own| {
        own.encodings[0].max_framerate = Some(15.0);
        own.encodings[0].scalability_mode = Some("L1T2".into());
        own.encodings[0].scale_resolution_down_by = Some(8.0);
    })
    .unwrap();
    let encodings = call.pair.pc(0).encodings(video).unwrap();
    assert_eq!(encodings[0].max_framerate, Some(15.0));
    assert_eq!(encodings[0].scalability_mode.as_deref(), Some("L1T2"));
    assert_eq!(encodings[0].scale_resolution_down_by, Some(8.0));
    let parameters = call.pair.call(0, |pc, _| pc.get_parameters(video)).unwrap();
    assert!(!parameters.codecs.is_empty() && !parameters.header_extensions.is_empty());
    assert!(parameters.rtcp.reduced_size && !parameters.rtcp.cname.is_empty());
    // Nobody may give back what nobody took.
    let twice = call.pair.call(0, |pc, now| {
        pc.set_parameters(now, video, parameters.clone())?;
        pc.set_parameters(now, video, parameters)
    });
    assert_eq!(twice, Err(Error::NoParameters));
}

//! From a publisher (WHIP) to its watchers (WHEP): by section and by codec, whole or not at all.

mod common;

use std::collections::BTreeMap;

use antiphon::{
    Api, CodecCapability, Direction, EncodingId, Event, Frame, MediaCapabilities, MediaKind, Output, Packet,
    PeerConnection, PeerHandle, Rid, RtcConfiguration, RtcRtpEncodingParameters, RtcRtpTransceiverInit,
    RtcSessionDescription, TransceiverId,
};
use antiphon_cli::sources::{Studio, VideoCodec};
use common::{Answer, Running, whole_offer, within};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAMES: usize = 10;
const OBS: &str = include_str!("offers/obs.sdp");
const TWO_VIDEOS: &str = include_str!("offers/two-videos.sdp");
const PREFERS_PCMU: &str = include_str!("offers/prefers-pcmu.sdp");

async fn post(server: &Running, path: &str, offer: &str) -> Answer {
    server.http("POST", path, &[SDP], offer).await
}

/// The offer of somebody who watches, with these codecs for video. It never connects.
fn watcher(codecs: &str) -> String {
    let head = PREFERS_PCMU.split("m=audio").next().unwrap();
    let transport: Vec<&str> = PREFERS_PCMU
        .lines()
        .filter(|line| {
            ["a=ice-", "a=fingerprint", "a=setup"]
                .iter()
                .any(|own| line.starts_with(own))
        })
        .collect();
    let types: Vec<&str> = codecs
        .lines()
        .filter_map(|line| line.trim().strip_prefix("a=rtpmap:")?.split(' ').next())
        .collect();
    let mut text = format!(
        "{head}m=video 9 UDP/TLS/RTP/SAVPF {}\r\nc=IN IP4 0.0.0.0\r\n",
        types.join(" ")
    );
    let lines = transport
        .into_iter()
        .chain(["a=mid:0", "a=recvonly", "a=rtcp-mux"])
        .chain(codecs.lines().map(str::trim));
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text
}

/// The codecs of an answer's section: payload types on its m-line.
fn formats(answer: &str, kind: &str) -> Vec<String> {
    let line = answer
        .lines()
        .find(|line| line.starts_with(&format!("m={kind} ")))
        .unwrap();
    line.split(' ').skip(3).map(str::to_owned).collect()
}

fn sections(answer: &str) -> Vec<&str> {
    answer.lines().filter(|line| line.starts_with("m=")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend11_offers_to_publish_are_taken_whole_or_refused_with_a_reason() {
    let server = Running::start(&["--udp-port", "0"]).await;
    for (offer, count) in [(OBS, 2), (TWO_VIDEOS, 3)] {
        let created = post(&server, "/whip", offer).await;
        assert_eq!(created.status, 201, "{}", created.body);
        let answered = sections(&created.body);
        assert_eq!(answered.len(), count);
        assert!(
            answered.iter().all(|line| line.split(' ').nth(1) != Some("0")),
            "{}",
            created.body
        );
        let resource = created.header("location").unwrap();
        assert_eq!(server.http("DELETE", resource, &[], "").await.status, 200);
    }
    // Simulcast is taken with all its layers.
    let simulcast = OBS.replace(
        "a=mid:1\r\n",
        "a=mid:1\r\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
         a=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\n",
    );
    assert!(simulcast.contains("a=simulcast"));
    let created = post(&server, "/whip", &simulcast).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert!(
        ["sdes:mid", "a=rid:h recv", "a=rid:l recv", "a=simulcast:recv h;l"]
            .iter()
            .all(|line| created.body.contains(line)),
        "{}",
        created.body
    );
    let resource = created.header("location").unwrap();
    assert_eq!(server.http("DELETE", resource, &[], "").await.status, 200);
    let theora = OBS.replace("H264", "theora");
    let text = format!("{OBS}m=text 50111 UDP/TLS/RTP/SAVPF 98\r\na=mid:2\r\na=rtcp-mux\r\na=rtpmap:98 t140/1000\r\n");
    let unbundled = TWO_VIDEOS.replace("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 0 1");
    let receiving = TWO_VIDEOS.replace("a=sendonly", "a=recvonly");
    for (offer, reason) in [
        (&*theora, "section 1 can be forwarded: offered was theora"),
        (&*text, "section 2 is neither"),
        (&*unbundled, "section 2 cannot be taken"),
        (&*receiving, "no section of the offer sends"),
    ] {
        let refused = post(&server, "/whip", offer).await;
        assert_eq!(refused.status, 422, "{reason}: {}", refused.body);
        assert!(refused.body.contains(reason), "{}", refused.body);
    }
    assert_eq!(
        post(&server, "/whep?source=whip", PREFERS_PCMU).await.status,
        404,
        "who was refused publishes nothing"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend11_a_watcher_is_answered_in_the_codec_that_is_published_or_hears_why_not() {
    let server = Running::start(&["--udp-port", "0"]).await;
    // A publisher of Opus and H.264 that has sent nothing yet.
    assert_eq!(post(&server, "/whip", OBS).await.status, 201);
    // A watcher that would rather have PCMU gets what there is, under its own number.
    let created = post(&server, "/whep", PREFERS_PCMU).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(formats(&created.body, "audio"), ["111"]);
    let pcmu = PREFERS_PCMU
        .replace("SAVPF 0 111", "SAVPF 0")
        .replace("a=rtpmap:111 opus/48000/2\r\n", "");
    for (path, offer, reasons) in [
        ("/whep", &*pcmu, ["published is opus", "offered was PCMU"]),
        (
            "/whep?source=whip",
            &*watcher("a=rtpmap:96 VP8/90000\na=rtpmap:98 VP9/90000"),
            ["published is H264 (profile-level-id=42e01f", "offered was VP8, VP9"],
        ),
        (
            "/whep?source=pattern",
            &*watcher("a=rtpmap:96 H264/90000"),
            ["published is VP8", "offered was H264"],
        ),
        (
            "/whep?source=pattern",
            &*PREFERS_PCMU.replace("a=recvonly", "a=sendonly"),
            ["nothing to play", "offered to receive was nothing"],
        ),
    ] {
        let refused = post(&server, path, offer).await;
        assert_eq!(refused.status, 422, "{path}: {}", refused.body);
        for reason in reasons {
            assert!(refused.body.contains(reason), "{reason}: {}", refused.body);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend05_every_profile_that_publisher_and_watcher_share_is_forwarded() {
    let server = Running::start(&["--udp-port", "0"]).await;
    let h264 = |profile: &str, mode: u8| {
        format!("a=rtpmap:102 H264/90000\na=fmtp:102 profile-level-id={profile};packetization-mode={mode}")
    };
    // ffmpeg's old and new Baseline, GStreamer's level 1.3, phones' Constrained High, High 4:4:4.
    for profile in ["420014", "42001e", "42c00d", "640c1f", "f4001f"] {
        let offer = OBS.replace("42e01f", profile);
        let created = post(&server, "/whip", &offer).await;
        assert_eq!(created.status, 201, "{profile}: {}", created.body);
        assert!(
            created.body.contains(&format!("profile-level-id={profile}")),
            "{}",
            created.body
        );
        let same = post(&server, "/whep?source=whip", &watcher(&h264(profile, 1))).await;
        assert_eq!(same.status, 201, "{profile}: {}", same.body);
        assert_eq!(formats(&same.body, "video"), ["102"]);
        // A decoder of High takes Constrained High.
        let high = post(&server, "/whep?source=whip", &watcher(&h264("64001f", 1))).await;
        assert_eq!(
            high.status == 201,
            ["640c1f", "42c00d"].contains(&profile),
            "{profile}: {}",
            high.body
        );
        let resource = created.header("location").unwrap();
        assert_eq!(server.http("DELETE", resource, &[], "").await.status, 200);
    }
    for codec in ["VP9/90000", "AV1/90000", "H265/90000", "VP8/90000"] {
        let (head, _) = OBS.split_once("a=rtpmap:96").unwrap();
        let offer = format!("{head}a=rtpmap:96 {codec}\r\n");
        let created = post(&server, "/whip", &offer).await;
        assert_eq!(created.status, 201, "{codec}: {}", created.body);
        let same = post(&server, "/whep?source=whip", &watcher(&format!("a=rtpmap:99 {codec}"))).await;
        assert_eq!(same.status, 201, "{codec}: {}", same.body);
        let resource = created.header("location").unwrap();
        assert_eq!(server.http("DELETE", resource, &[], "").await.status, 200);
    }
    server.stop().await;
}

/// A client with these codecs alone.
async fn client(choose: impl Fn(&CodecCapability) -> Option<u8>) -> PeerConnection {
    client_of(Output::Frames, choose).await
}

/// The same, whose events are packets or frames.
async fn client_of(output: Output, choose: impl Fn(&CodecCapability) -> Option<u8>) -> PeerConnection {
    let api = Api::builder().loopback(true).build().unwrap();
    let mut configuration = RtcConfiguration::default();
    let mut capabilities = MediaCapabilities::forwarding();
    for codecs in [&mut capabilities.audio, &mut capabilities.video] {
        codecs.retain_mut(|codec| match choose(codec) {
            Some(payload_type) => {
                codec.payload_type = payload_type;
                codec.rtx_payload_type = codec.rtx_payload_type.map(|_| payload_type + 1);
                true
            }
            None => false,
        });
    }
    configuration.settings.capabilities = capabilities.into();
    configuration.settings.receive_output = output;
    api.peer_connection(configuration).await.unwrap()
}

fn is_h264(codec: &CodecCapability) -> bool {
    codec.name == "H264" && codec.parameters.contains("42e01f") && codec.parameters.contains("mode=1")
}

async fn transceiver(pc: &PeerConnection, kind: MediaKind, direction: Direction) -> TransceiverId {
    pc.add_transceiver(kind, RtcRtpTransceiverInit::new(direction))
        .await
        .unwrap()
}

/// Moves what all sections share to the session, as OBS writes it.
fn like_obs(offer: &str) -> String {
    let (head, sections) = offer.split_once("m=").unwrap();
    let shared = |line: &&str| {
        ["a=ice-ufrag", "a=ice-pwd", "a=ice-options", "a=fingerprint", "a=setup"]
            .iter()
            .any(|own| line.starts_with(own))
    };
    let sections = format!("m={sections}");
    let first = sections.split("\r\nm=").next().unwrap();
    let mut text = String::from(head);
    for line in first.lines().filter(shared) {
        text.push_str(&format!("{line}\r\n"));
    }
    for line in sections.lines().filter(|line| !shared(line)) {
        text.push_str(&format!("{line}\r\n"));
    }
    text
}

async fn exchange(server: &Running, path: &str, pc: &mut PeerConnection, change: impl Fn(&str) -> String) -> Answer {
    let offer = change(&whole_offer(pc).await);
    let created = post(server, path, &offer).await;
    if created.status == 201 {
        let answer = RtcSessionDescription::answer(created.body.clone());
        pc.set_remote_description(answer).await.unwrap();
    }
    created
}

/// What a publisher sends: kind of picture or sound, until it is told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    /// Key frames in one packet each.
    Vp8,
    /// Key frames as OBS and GStreamer cut them: parameter sets in a STAP-A, then the picture in fragments that fill 1400 bytes.
    H264,
    /// 20 ms of one byte each.
    Sound(&'static str, u8),
}

impl Media {
    fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::H264 => "H264",
            Self::Sound(name, _) => name,
        }
    }

    fn payloads(self, mark: u8) -> Vec<Vec<u8>> {
        match self {
            Self::Vp8 => vec![[&[0x10, 0x00, mark][..], &[7; 300]].concat()],
            Self::H264 => {
                let fragment = |flags: u8| [&[0x7c, flags | 5][..], &[mark; 1400 - 12 - 2]].concat();
                vec![
                    vec![0x78, 0, 2, 0x67, mark, 0, 2, 0x68, mark],
                    fragment(0x80),
                    fragment(0),
                    fragment(0x40),
                ]
            }
            Self::Sound(_, byte) => vec![vec![byte; 160]],
        }
    }
}

/// Sends at the studio's pace until aborted: at the moment what `media` says.
fn send(peer: PeerHandle, id: impl Into<EncodingId>, mut media: watch::Receiver<Media>, mark: u8) -> JoinHandle<()> {
    let id = id.into();
    tokio::spawn(async move {
        let studio = Studio::new();
        let mut feed = studio.video(VideoCodec::Vp8, 3);
        let (mut sequence, mut timestamp) = (1u64, 0u32);
        loop {
            // Lagging or not, it is time for the next one.
            _ = feed.recv().await;
            let media = *media.borrow_and_update();
            timestamp = timestamp.wrapping_add(3000);
            let Ok(Some(payload_type)) = peer.payload_type(id.transceiver, media.name()).await else {
                continue;
            };
            let payloads = media.payloads(mark);
            let last = payloads.len() - 1;
            for (index, payload) in payloads.into_iter().enumerate() {
                let packet = Packet {
                    ssrc: 1,
                    rid: None,
                    payload_type,
                    sequence,
                    timestamp,
                    marker: index == last,
                    payload: payload.into(),
                    front: None,
                    key_frame: index == 0,
                    extensions: Default::default(),
                    contributors: None,
                    received: std::time::Instant::now(),
                    captured: None,
                };
                sequence += 1;
                // Not connected yet, or the queue is full: the next one.
                _ = peer.send_rtp(id, packet).await;
            }
        }
    })
}

/// What comes in until `done` says so: transceiver, payload type, bytes, whether it ends a picture.
async fn watch_until(pc: &mut PeerConnection, mut done: impl FnMut(TransceiverId, u8, &[u8], bool) -> bool) {
    loop {
        let event = within("media", pc.next_event()).await.expect("the connection lives");
        let done = match &event {
            Event::Frame { transceiver, frame, .. } => {
                let Frame { payload_type, data, .. } = frame;
                done(*transceiver, *payload_type, data, true)
            }
            Event::Packet { transceiver, packet } => {
                done(*transceiver, packet.payload_type, &packet.payload, packet.marker)
            }
            _ => false,
        };
        if done {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend11_an_obs_like_publisher_is_watched_by_many_in_large_packets() {
    let server = Running::start(&["--udp-port", "0"]).await;
    let mut publisher = client(|codec| match &*codec.name {
        "opus" => Some(111),
        "H264" if is_h264(codec) => Some(96),
        _ => None,
    })
    .await;
    let sound = transceiver(&publisher, MediaKind::Audio, Direction::SendOnly).await;
    let video = transceiver(&publisher, MediaKind::Video, Direction::SendOnly).await;
    let created = exchange(&server, "/whip", &mut publisher, like_obs).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let (_keep, media) = watch::channel(Media::H264);
    let (_keep_too, noise) = watch::channel(Media::Sound("opus", 0xfc));
    let senders = [
        send(publisher.handle(), video, media, 42),
        send(publisher.handle(), sound, noise, 0),
    ];
    for round in 0..3u8 {
        // Each watcher has numbers of its own, and other codecs that it would rather have.
        let number = 100 + 4 * round;
        let mut watcher = client_of(Output::Packets, move |codec| match &*codec.name {
            "VP8" => Some(98),
            "PCMU" => Some(0),
            "opus" => Some(120 - round),
            "H264" if is_h264(codec) => Some(number),
            _ => None,
        })
        .await;
        let hears = transceiver(&watcher, MediaKind::Audio, Direction::RecvOnly).await;
        let sees = transceiver(&watcher, MediaKind::Video, Direction::RecvOnly).await;
        let created = exchange(&server, "/whep", &mut watcher, str::to_owned).await;
        assert_eq!(created.status, 201, "{}", created.body);
        let (mut pictures, mut fragments, mut sounds) = (0, 0, 0);
        watch_until(&mut watcher, |id, payload_type, data, marker| {
            if id == hears {
                assert_eq!((payload_type, data), (120 - round, &[0xfc; 160][..]));
                sounds += 1;
            } else {
                assert_eq!((id, payload_type), (sees, number));
                // mend04: as large as GStreamer makes them.
                fragments += usize::from(data.len() == 1388 && data[2] == 42);
                pictures += usize::from(marker);
            }
            pictures > FRAMES && fragments >= 3 * FRAMES && sounds > FRAMES
        })
        .await;
    }
    // Who decodes VP8 alone hears what is there.
    let mut other = client(|codec| (codec.name == "VP8").then_some(96)).await;
    transceiver(&other, MediaKind::Video, Direction::RecvOnly).await;
    let refused = exchange(&server, "/whep", &mut other, str::to_owned).await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.body.contains("published is H264") && refused.body.contains("offered was VP8"),
        "{}",
        refused.body
    );
    senders.iter().for_each(JoinHandle::abort);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend11_two_videos_are_two_tracks_and_never_one() {
    let server = Running::start(&["--udp-port", "0"]).await;
    let mut publisher = client(|codec| (codec.name == "VP8").then_some(96)).await;
    let mut senders = Vec::new();
    let (_keep, media) = watch::channel(Media::Vp8);
    for mark in [1, 2] {
        let id = transceiver(&publisher, MediaKind::Video, Direction::SendOnly).await;
        senders.push(send(publisher.handle(), id, media.clone(), mark));
    }
    assert_eq!(
        exchange(&server, "/whip", &mut publisher, str::to_owned).await.status,
        201
    );
    // One section shows the first; with two each shows its own; of three the last stays empty.
    for sections in 1..=3 {
        let mut watcher = client(|codec| (codec.name == "VP8").then_some(120)).await;
        let mut places = Vec::new();
        for _ in 0..sections {
            places.push(transceiver(&watcher, MediaKind::Video, Direction::RecvOnly).await);
        }
        let created = exchange(&server, "/whep", &mut watcher, str::to_owned).await;
        assert_eq!(created.status, 201, "{}", created.body);
        assert_eq!(created.body.contains("a=inactive"), sections == 3, "{}", created.body);
        let mut seen = BTreeMap::new();
        watch_until(&mut watcher, |id, payload_type, data, _| {
            let place = places.iter().position(|own| *own == id).unwrap();
            assert_eq!((usize::from(data[1]), payload_type), (place + 1, 120));
            *seen.entry(place).or_insert(0) += 1;
            seen.len() == sections.min(2) && seen.values().all(|count| *count >= FRAMES)
        })
        .await;
    }
    senders.iter().for_each(JoinHandle::abort);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend11_payload_and_payload_type_agree_whatever_the_watcher_prefers() {
    let server = Running::start(&["--udp-port", "0"]).await;
    for (published, preferred) in [("opus", "PCMU"), ("PCMU", "opus"), ("PCMA", "opus"), ("G722", "PCMU")] {
        let mut publisher = client(|codec| (codec.name == published).then_some(codec.payload_type)).await;
        let id = transceiver(&publisher, MediaKind::Audio, Direction::SendOnly).await;
        let created = exchange(&server, "/whip", &mut publisher, str::to_owned).await;
        assert_eq!(created.status, 201, "{}", created.body);
        let resource = created.header("location").unwrap().to_owned();
        let (_keep, media) = watch::channel(Media::Sound(published, 0xfc));
        let sender = send(publisher.handle(), id, media, 0);
        let mut watcher = client(|codec| match &*codec.name {
            "opus" => Some(99),
            "PCMU" | "PCMA" | "G722" => Some(codec.payload_type),
            _ => None,
        })
        .await;
        let own = transceiver(&watcher, MediaKind::Audio, Direction::RecvOnly).await;
        let order = [preferred, published].map(|name| format!("audio/{name}")).to_vec();
        watcher.set_codec_preferences(own, order).await.unwrap();
        let created = exchange(&server, "/whep?source=whip", &mut watcher, str::to_owned).await;
        assert_eq!(created.status, 201, "{}", created.body);
        let negotiated = watcher.transceivers().await.unwrap();
        let codecs = &negotiated[0].receive().unwrap().codecs;
        assert_eq!(codecs.len(), 1, "{codecs:?}");
        let expected = codecs[0].payload_type;
        let mut came = 0;
        watch_until(&mut watcher, |_, payload_type, data, _| {
            assert_eq!((payload_type, data), (expected, &[0xfc; 160][..]));
            came += 1;
            came > FRAMES
        })
        .await;
        sender.abort();
        assert_eq!(server.http("DELETE", &resource, &[], "").await.status, 200);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend05_a_publisher_that_changes_its_codec_is_followed_by_who_takes_both() {
    let server = Running::start(&["--udp-port", "0"]).await;
    let both = |vp8, h264| {
        move |codec: &CodecCapability| match &*codec.name {
            "VP8" => Some(vp8),
            "H264" if is_h264(codec) => Some(h264),
            _ => None,
        }
    };
    let vp8_alone = |codec: &CodecCapability| (codec.name == "VP8").then_some(96);
    let watcher = async |choose: &dyn Fn(&CodecCapability) -> Option<u8>| {
        let mut pc = client(choose).await;
        transceiver(&pc, MediaKind::Video, Direction::RecvOnly).await;
        let created = exchange(&server, "/whep", &mut pc, str::to_owned).await;
        (pc, created)
    };
    let mut publisher = client(both(96, 102)).await;
    let id = transceiver(&publisher, MediaKind::Video, Direction::SendOnly).await;
    assert_eq!(
        exchange(&server, "/whip", &mut publisher, str::to_owned).await.status,
        201
    );
    let (choice, media) = watch::channel(Media::Vp8);
    let sender = send(publisher.handle(), id, media, 9);

    let (mut flexible, created) = watcher(&both(120, 122)).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let (mut plain, created) = watcher(&vp8_alone).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let frames = async |pc: &mut PeerConnection, wanted: u8| {
        let mut count = 0;
        watch_until(pc, |_, payload_type, _, marker| {
            count += usize::from(payload_type == wanted && marker);
            count > FRAMES
        })
        .await;
    };
    frames(&mut flexible, 120).await;
    frames(&mut plain, 96).await;
    choice.send_replace(Media::H264);
    frames(&mut flexible, 122).await;
    // Who comes now must take what is being sent now.
    let (_pc, refused) = watcher(&vp8_alone).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("published is H264"), "{}", refused.body);
    // And who does not take it goes on when it can.
    choice.send_replace(Media::Vp8);
    frames(&mut plain, 96).await;
    frames(&mut flexible, 120).await;
    sender.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_of_simulcast_chooses_its_layer_and_both_ends_are_told_which_there_are() {
    let server = Running::start(&["--udp-port", "0"]).await;
    let mut publisher = client(|codec| (codec.name == "VP8").then_some(96)).await;
    let init = RtcRtpTransceiverInit {
        send_encodings: ["l", "h"].map(RtcRtpEncodingParameters::layer).into(),
        ..RtcRtpTransceiverInit::new(Direction::SendOnly)
    };
    let id = publisher.add_transceiver(MediaKind::Video, init).await.unwrap();
    let published = exchange(&server, "/whip", &mut publisher, str::to_owned).await;
    assert_eq!(published.status, 201, "{}", published.body);
    assert!(published.body.contains("a=simulcast:recv l;h"), "{}", published.body);
    let (_keep, media) = watch::channel(Media::Vp8);
    let mut senders = Vec::new();
    for (name, mark) in [("l", 1), ("h", 2)] {
        let rid = Rid::new(name.as_bytes()).unwrap();
        senders.push(send(publisher.handle(), (id, rid), media.clone(), mark));
    }
    let mut watcher = client(|codec| (codec.name == "VP8").then_some(120)).await;
    transceiver(&watcher, MediaKind::Video, Direction::RecvOnly).await;
    let created = exchange(&server, "/whep?layer=0", &mut watcher, str::to_owned).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let layers = format!("{}/layers", created.header("location").unwrap());
    let until = async |watcher: &mut PeerConnection, mark: u8| {
        let mut run = 0;
        watch_until(watcher, |_, _, data, _| {
            run = if data[1] == mark { run + 1 } else { 0 };
            run > FRAMES
        })
        .await;
    };
    until(&mut watcher, 1).await;
    const JSON: (&str, &str) = ("Content-Type", "application/json");
    // The sizes cannot be told of these frames, and they cost the same: the order is that of the offer.
    assert_eq!(
        server.http("POST", &layers, &[JSON], r#"{"layer": 1}"#).await.status,
        204
    );
    until(&mut watcher, 2).await;
    let told = server.http("GET", &layers, &[], "").await.body;
    assert!(
        told.contains(r#""rid":"l""#) && told.contains(r#""has":{"layer":1,"temporal":0}"#),
        "{told}"
    );
    let own = format!("{}/layers", published.header("location").unwrap());
    let told = server.http("GET", &own, &[], "").await.body;
    assert!(told.contains(r#""rid":"h""#) && !told.contains("has"), "{told}");
    for (path, kind, body, status) in [
        (&*layers, JSON, "[]", 400),
        (&layers, SDP, "{}", 415),
        (&own, JSON, "{}", 405),
        ("/whep/live/nobody/layers", JSON, "{}", 404),
    ] {
        assert_eq!(server.http("POST", path, &[kind], body).await.status, status, "{path}");
    }
    assert_eq!(post(&server, "/whep?layer=high", PREFERS_PCMU).await.status, 400);
    senders.iter().for_each(JoinHandle::abort);
    server.stop().await;
}

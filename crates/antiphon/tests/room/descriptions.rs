//! Descriptions: rows 15 to 17.

use antiphon::room::{
    Fingerprint, OfferOptions, Room, RtcPeerConnection, RtcPeerConnectionOptions, RtpReceiver, parameter_name,
};
use antiphon::{MediaKind, RtcSessionDescription, SdpType, TransceiverId};
use antiphon_jsep::plan_b::{PlanB, PlanBStyle};

use crate::client::{Client, Joined, room, server};

#[tokio::test]
async fn m15_a_description_has_its_type_its_text_its_lines_and_json() {
    let server = server().await;
    let room = room(&server).await;
    let own = Joined::new(&room, "alice").await;
    let offer = own.offer().await;
    assert_eq!((offer.sdp_type, offer.sdp_type.as_str()), (SdpType::Offer, "offer"));
    assert_eq!(offer.parsed().unwrap().media.len(), 2);
    let text = offer.serialize();
    assert!(text.starts_with("{\"type\":\"offer\",\"sdp\":\"v=0\\r\\n"), "{text}");
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    let again = RtcSessionDescription::from_words(read["type"].as_str().unwrap(), read["sdp"].as_str().unwrap());
    assert_eq!(again.unwrap(), offer);
    assert_eq!(
        RtcSessionDescription::from_parsed(offer.sdp_type, &offer.parsed().unwrap()),
        offer
    );
    let error = RtcSessionDescription::from_words("bid", offer.sdp.as_str()).unwrap_err();
    assert_eq!(error.name(), "TypeError");
    let error = RtcSessionDescription::from_words("answer", "no lines").unwrap_err();
    assert_ne!(error.name(), "TypeError");
}

/// A client that speaks Plan B, and the server's end of it.
struct OldClient {
    pc: RtcPeerConnection,
    client: Client,
    plan_b: PlanB,
    sends_two: bool,
}

impl OldClient {
    async fn new(room: &Room, name: &str) -> Self {
        let peer = room.peer(name).await.unwrap();
        let options = RtcPeerConnectionOptions {
            use_plan_b: true,
            ..RtcPeerConnectionOptions::new(&peer)
        };
        let pc = RtcPeerConnection::new(options).await.unwrap();
        pc.set_capabilities(Client::capabilities().await).await.unwrap();
        Self {
            pc,
            client: Client::new().await,
            plan_b: PlanB::new(PlanBStyle::MEDIASOUP),
            sends_two: false,
        }
    }

    async fn offer(&self) -> RtcSessionDescription {
        let offer = self.pc.create_offer(OfferOptions::default()).await.unwrap();
        self.pc.set_local_description(offer).await.unwrap();
        self.pc.local_description().await.unwrap().unwrap()
    }

    /// A whole exchange; the offer and the answer in it.
    async fn exchange(&mut self) -> [RtcSessionDescription; 2] {
        let offer = self.offer().await;
        let unified = self.plan_b.remote_offer(&offer.parsed().unwrap()).unwrap();
        let unified = RtcSessionDescription::from_parsed(SdpType::Offer, &unified);
        let answer = self.client.answer(self.with_room(unified)).await;
        let answer = self.plan_b.local_answer(&answer.parsed().unwrap()).unwrap();
        let answer = RtcSessionDescription::from_parsed(SdpType::Answer, &answer);
        self.pc.set_remote_description(answer.clone()).await.unwrap();
        [offer, answer]
    }

    /// In Plan B a client sends as many tracks in a section as it likes. Ours sends one on each, so its second picture gets a copy of the
    /// section of the first.
    fn with_room(&self, mut offer: RtcSessionDescription) -> RtcSessionDescription {
        if !self.sends_two || offer.sdp.contains("a=mid:second\r\n") {
            return offer;
        }
        let at = offer.sdp.find("m=video").unwrap();
        let own = |line: &&str| {
            !["a=mid:", "a=ssrc", "a=candidate", "a=end-of"]
                .iter()
                .any(|start| line.starts_with(start))
        };
        let copy: String = offer.sdp[at..].split_inclusive("\r\n").filter(own).collect();
        offer.sdp.push_str(&copy);
        offer.sdp.push_str("a=mid:second\r\n");
        let bundle = offer
            .sdp
            .lines()
            .find(|line| line.starts_with("a=group:BUNDLE"))
            .unwrap()
            .to_owned();
        offer.sdp = offer.sdp.replace(&bundle, &format!("{bundle} second"));
        offer
    }

    async fn receivers(&self, kind: MediaKind) -> Vec<RtpReceiver> {
        let all = self.pc.peer().rtp_receivers().await.unwrap();
        all.into_iter().filter(|own| own.kind() == kind).collect()
    }
}

#[tokio::test]
async fn m16_a_client_that_speaks_plan_b_sends_and_gets_any_number_of_tracks() {
    let server = server().await;
    let room = room(&server).await;
    let mut old = OldClient::new(&room, "alice").await;
    old.sends_two = true;
    old.client.add(MediaKind::Audio, "voice").await;
    let cameras = [
        old.client.add(MediaKind::Video, "camera").await,
        old.client.add(MediaKind::Video, "screen").await,
    ];
    let [offer, answer] = old.exchange().await;
    for line in [
        "a=mid:audio-tracks\r\n",
        "a=mid:video-tracks\r\n",
        "a=ice-lite\r\n",
        "a=end-of-candidates\r\n",
        "RTP/SAVPF",
    ] {
        assert!(offer.sdp.contains(line), "{line}: {}", offer.sdp);
    }
    assert!(
        offer.sdp.contains("a=candidate:") && offer.sdp.contains("m=audio 7 RTP/SAVPF"),
        "{}",
        offer.sdp
    );
    assert!(
        !offer.sdp.contains("sdes:mid"),
        "the name of a section says nothing of a track"
    );
    assert_eq!(offer.sdp.matches("\r\nm=").count(), 2);
    assert_eq!(answer.sdp.matches("\r\nm=").count(), 2);
    assert_eq!(old.receivers(MediaKind::Audio).await.len(), 1);
    let videos = old.receivers(MediaKind::Video).await;
    assert_eq!(videos.len(), 2, "both tracks of one section: {}", answer.sdp);

    // Everybody gets them, in either manner; and what the others send is one section more, or one SSRC.
    let mut modern = Joined::new(&room, "bob").await;
    modern.client.add(MediaKind::Video, "camera").await;
    modern.exchange().await;
    let mut second = OldClient::new(&room, "carol").await;
    let [offer, _] = second.exchange().await;
    assert_eq!(offer.sdp.matches("\r\nm=").count(), 2);
    let streams = |sdp: &str| {
        sdp.lines()
            .filter(|line| line.starts_with("a=ssrc:") && line.contains(" msid:"))
            .count()
    };
    assert_eq!(
        streams(&offer.sdp),
        2 * 3 + 1,
        "three of pictures with retransmissions, one of sound: {}",
        offer.sdp
    );
    let mut places: Vec<TransceiverId> = Vec::new();
    for (number, camera) in (1..).zip(cameras) {
        old.client.deliver(camera, number, &mut modern.client).await;
        let (_, place) = old.client.deliver(camera, number, &mut second.client).await;
        places.push(place);
    }
    assert_ne!(places[0], places[1], "two tracks in one section are two tracks");

    // One of the tracks ends, and the versions go up.
    let version = |offer: &RtcSessionDescription| {
        let origin = offer
            .sdp
            .lines()
            .find(|line| line.starts_with("o="))
            .unwrap()
            .to_owned();
        origin.split(' ').nth(2).unwrap().parse::<u64>().unwrap()
    };
    old.client.pc.remove_track(cameras[1]).await.unwrap();
    let [first, _] = old.exchange().await;
    assert_eq!(old.receivers(MediaKind::Video).await.len(), 1);
    let given_up = old.offer().await;
    old.pc.reset().await.unwrap();
    let [second, _] = old.exchange().await;
    assert!(version(&first) < version(&given_up) && version(&given_up) < version(&second));
    let wrong = second.sdp.replace("a=mid:video-tracks", "a=mid:pictures");
    old.offer().await;
    let error = old
        .pc
        .set_remote_description(RtcSessionDescription::answer(wrong))
        .await
        .unwrap_err();
    assert!(error.to_string().starts_with("Plan B: "), "{error}");
}

#[test]
fn m17_fingerprints_and_parameters_have_the_words_of_both_sides() {
    let fingerprint = Fingerprint::parse("SHA-256 ab:cd:ef").unwrap();
    assert_eq!(
        (fingerprint.algorithm.as_str(), fingerprint.digest.as_str()),
        ("sha-256", "AB:CD:EF")
    );
    assert_eq!(fingerprint.to_string(), "sha-256 AB:CD:EF");
    assert!(Fingerprint::parse("sha-256").is_none());
    for (sdp, joined) in [
        ("useinbandfec", "useInbandFec"),
        ("packetization-mode", "packetizationMode"),
        ("profile-level-id", "profileLevelId"),
    ] {
        assert_eq!(parameter_name::from_sdp(sdp), joined);
        assert_eq!(parameter_name::to_sdp(joined), sdp);
    }
}

//! Descriptions of a hostile peer that speaks Plan B.

use antiphon_jsep::plan_b::{PlanB, PlanBStyle};
use antiphon_jsep::{
    Config, Direction, Fingerprint, LocalTransport, MediaKind, Negotiator, OfferOptions, SdpType, TransceiverInit,
};
use antiphon_sansio::Rng;
use antiphon_sdp::SessionDescription;

/// Texts of descriptions, each after a byte 0 and a byte that says what is done with it. What is translated parses.
pub(super) fn machine(data: &[u8]) {
    let mut negotiator = Negotiator::new(Config::default(), Rng::from_u64(1));
    for kind in [MediaKind::Audio, MediaKind::Video, MediaKind::Video] {
        let direction = Direction::RecvOnly;
        negotiator.add_transceiver(
            kind,
            TransceiverInit {
                direction,
                ..TransceiverInit::default()
            },
        );
    }
    let transport = LocalTransport {
        ufrag: "frag".into(),
        pwd: "a-password-that-is-long-enough".into(),
        fingerprints: Fingerprint::parse("sha-256 AB:CD").into_iter().collect(),
        ..LocalTransport::default()
    };
    let mut translator = PlanB::new(PlanBStyle::MEDIASOUP);
    for step in data.split(|byte| *byte == 0).take(12) {
        let Some((choice, text)) = step.split_first() else {
            continue;
        };
        let theirs = SessionDescription::parse_bytes(text);
        match (choice % 4, theirs) {
            (0, _) => {
                let Ok(offer) = negotiator.create_offer(&OfferOptions::default(), &transport) else {
                    continue;
                };
                let _ = translator.local_offer(&offer).map(|theirs| reads_the_same(&theirs));
                let _ = negotiator.set_local(SdpType::Offer, offer);
            }
            (1, Ok(answer)) => {
                let Some((_, offer)) = negotiator.pending_local_description() else {
                    continue;
                };
                let offer = offer.clone();
                if let Ok(answer) = translator.remote_answer(&offer, &answer) {
                    reads_the_same(&answer.description);
                    assert_eq!(answer.description.media.len(), offer.media.len(), "a section for each");
                    let _ = negotiator.set_remote(SdpType::Answer, answer.description);
                }
            }
            (_, Ok(offer)) => {
                let Ok(ours) = translator.remote_offer(&offer) else {
                    continue;
                };
                reads_the_same(&ours);
                if negotiator.set_remote(SdpType::Offer, ours).is_err() {
                    continue;
                }
                if let Ok(answer) = negotiator.create_answer(&transport) {
                    let _ = translator.local_answer(&answer).map(|theirs| reads_the_same(&theirs));
                    let _ = negotiator.set_local(SdpType::Answer, answer);
                }
            }
            (_, Err(_)) => {}
        }
    }
}

/// What we write is what is read, but for how bytes that are no text were read before.
fn reads_the_same(description: &SessionDescription) {
    let text = description.to_text();
    let read = SessionDescription::parse(&text).expect("what is translated parses");
    assert_eq!(read.to_text(), text, "and is read as it was written");
}

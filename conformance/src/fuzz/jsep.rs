//! Descriptions of a hostile peer, set in a negotiator.

use antiphon_jsep::{
    Config, Fingerprint, IceCandidate, LocalTransport, MediaKind, Negotiator, OfferOptions, SdpType, TransceiverInit,
};
use antiphon_sansio::Rng;
use antiphon_sdp::SessionDescription;

fn transport() -> LocalTransport {
    LocalTransport {
        ufrag: "frag".into(),
        pwd: "a-password-that-is-long-enough".into(),
        fingerprints: Fingerprint::parse("sha-256 AB:CD").into_iter().collect(),
        ..LocalTransport::default()
    }
}

/// Texts of descriptions and candidates, each after a byte 0 and a byte that says what is done with it.
pub(super) fn machine(data: &[u8]) {
    let mut negotiator = Negotiator::new(Config::default(), Rng::from_u64(1));
    negotiator.add_transceiver(MediaKind::Audio, TransceiverInit::default());
    negotiator.add_transceiver(MediaKind::Video, TransceiverInit::default());
    negotiator.want_data();
    for step in data.split(|byte| *byte == 0).take(12) {
        let Some((choice, text)) = step.split_first() else {
            continue;
        };
        match choice % 8 {
            0 | 1 => set_remote(&mut negotiator, SdpType::Offer, text),
            2 => set_remote(&mut negotiator, SdpType::Answer, text),
            3 => set_remote(&mut negotiator, SdpType::PrAnswer, text),
            4 => {
                if let Ok(offer) = negotiator.create_offer(&OfferOptions::default(), &transport()) {
                    reads_the_same(&offer);
                    let _ = negotiator.set_local(SdpType::Offer, offer.clone());
                }
            }
            5 => {
                if let Ok(answer) = negotiator.create_answer(&transport()) {
                    reads_the_same(&answer);
                    let kind = if choice & 8 == 0 {
                        SdpType::Answer
                    } else {
                        SdpType::PrAnswer
                    };
                    negotiator
                        .set_local(kind, answer.clone())
                        .expect("our own answer can be set");
                }
            }
            6 => {
                let _ = negotiator.rollback();
            }
            _ => {
                let candidate = IceCandidate {
                    candidate: String::from_utf8_lossy(text).into_owned(),
                    sdp_mid: None,
                    sdp_m_line_index: Some(u16::from(choice >> 4)),
                    username_fragment: None,
                };
                let _ = negotiator.add_remote_candidate(&candidate);
            }
        }
        let _ = negotiator.negotiation_needed();
    }
}

fn set_remote(negotiator: &mut Negotiator, kind: SdpType, text: &[u8]) {
    let Ok(description) = SessionDescription::parse_bytes(text) else {
        return;
    };
    let before = negotiator.signaling_state();
    if negotiator.set_remote(kind, description.clone()).is_err() {
        assert_eq!(
            negotiator.signaling_state(),
            before,
            "a refused description changes nothing"
        );
        return;
    }
    // An accepted offer can be answered.
    if kind == SdpType::Offer {
        let answer = negotiator
            .create_answer(&transport())
            .expect("what was accepted is answered");
        reads_the_same(&answer);
        assert_eq!(answer.media.len(), description.media.len(), "section for section");
    }
}

fn reads_the_same(description: &SessionDescription) {
    let text = description.to_text();
    let again = SessionDescription::parse(&text).expect("our own description parses");
    assert_eq!(again.to_text(), text);
}

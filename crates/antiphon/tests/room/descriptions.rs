//! Descriptions: row 15.

use antiphon::{RtcSessionDescription, SdpType};

use crate::client::{Joined, room, server};

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

//! Codecs that need no state.

use antiphon_crypto::{null_provider, rust_provider};
use antiphon_rtp::bitstream;
use antiphon_rtp::extension::{Carried, Kind, Map, OwnedOthers, Values, is_well_formed};
use antiphon_rtp::packet::Packet;
use antiphon_rtp::payload::{Depacketizer, Joiner, opus, vp8};
use antiphon_rtp::rtcp;
use antiphon_sdp::SessionDescription;
use antiphon_srtp::{Cryptex, Error, ExtensionKey, Profile, Receiver, Sender};
use antiphon_stun::{AttributeType, Class, Key, Message, MessageBuilder, Method, TransactionId};

pub(super) fn stun(data: &[u8]) {
    let Ok(message) = Message::parse(data) else { return };
    let key = Key::short_term("password");
    let _ = (
        message.check_integrity(&key),
        message.check_integrity_sha256(&key),
        message.check_fingerprint(),
    );
    let _ = format!("{message:?}");
    let _ = (message.username(), message.userhash(), message.realm(), message.nonce());
    let _ = (message.software(), message.error_code(), message.alternate_server());
    let _ = (
        message.xor_mapped_address(),
        message.mapped_address(),
        message.priority(),
    );
    let _ = (
        message.ice_controlled(),
        message.ice_controlling(),
        message.nomination(),
    );
    let _ = (
        message.xor_relayed_address(),
        message.lifetime(),
        message.channel_number(),
    );
    let _ = (message.requested_transport(), message.requested_address_family());
    let _ = (message.even_port(), message.reservation_token(), message.data());
    assert!(message.xor_peer_addresses().count() <= data.len());
    assert!(message.unknown_attributes().count() <= data.len());
    assert!(message.unknown_required().count() <= data.len());

    // What can be read can be written: the same attributes in a message of our own are read the same.
    let mut buffer = vec![0; data.len() + 64];
    let mut builder = MessageBuilder::new(&mut buffer, message.class(), message.method(), message.transaction_id());
    let mut expected = Vec::new();
    for attribute in message.attributes() {
        builder.put(attribute.kind, attribute.value);
        expected.push((attribute.kind, attribute.value.to_vec()));
    }
    if let Ok(len) = builder.finish() {
        let again = Message::parse(&buffer[..len]).expect("our own message parses");
        let plain = |kind: &AttributeType| {
            ![
                AttributeType::MESSAGE_INTEGRITY,
                AttributeType::MESSAGE_INTEGRITY_SHA256,
                AttributeType::FINGERPRINT,
            ]
            .contains(kind)
        };
        if expected.iter().all(|(kind, _)| plain(kind)) {
            let read: Vec<_> = again.attributes().map(|a| (a.kind, a.value.to_vec())).collect();
            assert_eq!(read, expected);
        }
    }
}

pub(super) fn sdp(data: &[u8]) {
    let Ok(description) = SessionDescription::parse_bytes(data) else {
        return;
    };
    let _ = description.origin();
    for section in std::iter::once(&description.session).chain(description.media.iter().map(|media| &media.section)) {
        for attribute in section.attributes() {
            let _ = format!("{attribute:?} {attribute}");
        }
        let _ = (section.connection(), section.bandwidths().count());
    }
    for media in &description.media {
        for payload_type in media.line.payload_types() {
            let _ = (media.rtpmap(payload_type), media.fmtp(payload_type));
        }
        let _ = (media.is_rejected(), description.direction_of(media));
    }
}

pub(super) fn roundtrip_sdp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(description) = SessionDescription::parse(text) {
        assert_eq!(description.to_text(), text, "what is read is written back");
        assert_eq!(description.text_len(), text.len());
    }
}

pub(super) fn rtp(data: &[u8]) {
    for (name, depacketizer) in Depacketizer::NAMES {
        for marker in [false, true] {
            let _ = depacketizer.depacketize(data, marker);
        }
        // Alone, and in two halves.
        let (front, back) = data.split_at(data.len() / 2);
        for payloads in [[data, &[]], [front, back]] {
            let mut out = Vec::new();
            let payloads = payloads.into_iter().filter(|payload| !payload.is_empty());
            if let Ok(joined) = Joiner::new(depacketizer, "").join(payloads, &mut out) {
                assert!(joined.part.is_none_or(|part| part.end <= data.len()), "{name}");
            }
        }
    }
    let _ = (bitstream::vp8::resolution(data), opus::samples(data));
    if let Ok((descriptor, len)) = vp8::Descriptor::parse(data) {
        let mut buffer = [0; vp8::MAX_DESCRIPTOR];
        let written = descriptor.write(&mut buffer);
        assert!(written <= len, "the shortest form");
        let again = vp8::Descriptor::parse(&[&buffer[..written], &[0]].concat());
        assert_eq!(again, Ok((descriptor, written)));
    }

    let Ok(packet) = Packet::parse(data) else { return };
    assert!(packet.header_len() + packet.payload().len() + packet.padding_len() == data.len());
    let mut map = Map::default();
    // 15 is no identifier.
    for (id, kind) in (1..15).chain(16..).zip(Kind::ALL) {
        map.insert(id, kind);
    }
    let values = packet.values(&map);
    let _ = format!("{values:?}");
    let carried = Carried::of(&values);
    let mut again = Values::default();
    carried.put(&mut again);
    assert!(carried.others.len() <= OwnedOthers::MAX_LEN);
    for (kind, data) in again.others.iter() {
        assert_eq!(values.others.get(kind), Some(data));
        let _ = is_well_formed(kind, data);
    }
    assert!(packet.elements().count() <= data.len());
    assert!(packet.csrcs().count() <= 15);
}

pub(super) fn rtcp(data: &[u8]) {
    let mut count = 0;
    for packet in rtcp::packets(data) {
        count += 1;
        assert!(count <= data.len(), "the walk ends");
        let Ok(packet) = packet else { continue };
        let _ = format!("{packet:?}");
        match packet {
            rtcp::Packet::SenderReport(report) => assert!(report.blocks().count() <= 31),
            rtcp::Packet::ReceiverReport(report) => assert!(report.blocks().count() <= 31),
            rtcp::Packet::Sdes(sdes) => {
                for chunk in sdes.chunks() {
                    let _ = (chunk.items().count(), chunk.cname());
                }
            }
            rtcp::Packet::Bye(bye) => assert!(bye.ssrcs().count() <= 31),
            rtcp::Packet::ExtendedReport(report) => assert!(report.blocks().count() <= data.len()),
            rtcp::Packet::Nack(nack) => assert!(nack.sequences().count() <= data.len() * 17),
            rtcp::Packet::TransportFeedback(feedback) => assert!(feedback.statuses().count() <= 65_535),
            rtcp::Packet::Ccfb(ccfb) => {
                let metrics: usize = ccfb.streams().map(|stream| stream.metrics().count()).sum();
                assert!(metrics <= data.len());
            }
            rtcp::Packet::Fir(fir) => assert!(fir.entries().count() <= data.len()),
            rtcp::Packet::Remb(remb) => assert!(remb.ssrcs().count() <= 255),
            _ => {}
        }
    }
}

/// First byte: the profile, and how headers are encrypted. The rest is sent as a packet if it is one, and taken as a protected
/// packet in any case, with real and with null crypto, twice.
pub(super) fn roundtrip_srtp(data: &[u8]) {
    let Some((choice, packet)) = data.split_first() else {
        return;
    };
    let choice = usize::from(*choice);
    let profile = Profile::ALL[choice % Profile::ALL.len()];
    let headers = choice / Profile::ALL.len();
    let (use_cryptex, use_elements) = (headers & 1 != 0, headers & 2 != 0);
    let policy = [Cryptex::Off, Cryptex::Accept, Cryptex::Require][headers / 4 % 3];
    let policy = if use_cryptex && policy == Cryptex::Off {
        Cryptex::Accept
    } else {
        policy
    };
    let (key, salt) = (vec![1; profile.key_len()], vec![2; profile.salt_len()]);
    for provider in [rust_provider(), null_provider()] {
        let mut sender = Sender::new(profile, &key, &salt, provider).expect("lengths fit");
        let mut receiver = Receiver::new(profile, &key, &salt, provider).expect("lengths fit");
        sender.set_cryptex(use_cryptex);
        receiver.set_cryptex(policy);
        if use_elements {
            let key = || ExtensionKey::new(profile, &key, &salt, (0..=255).step_by(3), provider).expect("lengths fit");
            sender.set_extension_key(Some(key()));
            receiver.set_extension_key(Some(key()));
        }
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len() + 20, 0);
        if let Ok(len) = sender.protect_rtp_slice(&mut buffer, packet.len()) {
            let mut again = buffer[..len].to_vec();
            match receiver.unprotect_rtp_slice(&mut buffer[..len]) {
                Ok(plain) => check_plain(&buffer[..plain], packet),
                // What the sender may leave in the clear this receiver does not take; and a tag of Cryptex on a packet that
                // was sent without it.
                Err(Error::HeaderInClear) => assert_eq!(policy, Cryptex::Require),
                Err(_) => assert!(!use_cryptex && policy != Cryptex::Off && is_tagged(packet)),
            }
            assert!(receiver.unprotect_rtp_slice(&mut again).is_err(), "a replay");
        }
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len() + 20, 0);
        if let Ok(len) = sender.protect_rtcp_slice(&mut buffer, packet.len()) {
            let mut again = buffer[..len].to_vec();
            let plain = receiver
                .unprotect_rtcp_slice(&mut buffer[..len])
                .expect("our own opens");
            assert_eq!(&buffer[..plain], packet);
            assert!(receiver.unprotect_rtcp_slice(&mut again).is_err(), "a replay");
        }
        for _ in 0..2 {
            let _ = receiver.unprotect_rtp_slice(&mut packet.to_vec());
            let _ = receiver.unprotect_rtcp_slice(&mut packet.to_vec());
        }
        assert!(receiver.ssrc_count() <= 4);
    }
}

/// What was sent, or that with the empty extension that tells of encrypted CSRCs.
fn check_plain(opened: &[u8], sent: &[u8]) {
    if opened.len() == sent.len() + 4 {
        let end = 12 + 4 * usize::from(sent[0] & 0x0f);
        assert_eq!(opened[0], sent[0] | 0x10);
        assert_eq!(opened[1..end], sent[1..end]);
        assert_eq!(opened[end..end + 4], [0xbe, 0xde, 0, 0]);
        assert_eq!(opened[end + 4..], sent[end..]);
    } else if is_tagged(sent) {
        // Sent without Cryptex, with its tag, and counter mode: the codes agree and the rest does not.
        assert_eq!(opened.len(), sent.len());
    } else {
        assert_eq!(opened, sent);
    }
}

/// Whether a packet looks encrypted by RFC 9335.
fn is_tagged(packet: &[u8]) -> bool {
    let at = 12 + 4 * usize::from(packet[0] & 0x0f);
    packet[0] & 0x10 != 0 && matches!(packet.get(at..at + 2), Some([0xc0 | 0xc2, 0xde]))
}

/// A message of what the input says, written, read, and changed.
pub(super) fn roundtrip_stun(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<4>() else {
        return;
    };
    let key = Key::short_term("password");
    let mut buffer = vec![0; 4096];
    let method = Method::new(u16::from_be_bytes([head[0], head[1]]));
    let class = [Class::Request, Class::Indication, Class::Success, Class::Error][usize::from(head[2] % 4)];
    let id = TransactionId([head[3]; 12]);
    let mut builder = MessageBuilder::new(&mut buffer, class, method, id);
    let mut written = Vec::new();
    for attribute in rest.chunks(11).take(64) {
        let Some((kind, value)) = attribute.split_first_chunk::<2>() else {
            break;
        };
        let kind = AttributeType(u16::from_be_bytes(*kind) & 0xc0ff);
        if [
            AttributeType::MESSAGE_INTEGRITY,
            AttributeType::MESSAGE_INTEGRITY_SHA256,
            AttributeType::FINGERPRINT,
        ]
        .contains(&kind)
        {
            continue;
        }
        builder.put(kind, value);
        written.push((kind, value));
    }
    builder.integrity(&key).integrity_sha256(&key).fingerprint();
    let len = builder.finish().expect("64 small attributes fit");
    let message = Message::parse(&buffer[..len]).expect("our own message parses");
    assert_eq!(
        (message.class(), message.method(), message.transaction_id()),
        (class, method, id)
    );
    let read: Vec<_> = message.attributes().map(|a| (a.kind, a.value)).collect();
    assert_eq!(read, written);
    assert!(message.check_integrity(&key).is_valid() && message.check_integrity_sha256(&key).is_valid());
    assert!(message.check_fingerprint().is_valid());
    // One changed bit before the codes breaks all three, or the shape.
    let covered = len - 8 - 36 - 24;
    let at = usize::from(head[0]) % covered;
    buffer[at] ^= 1 << (head[1] % 8);
    if let Ok(changed) = Message::parse(&buffer[..len]) {
        assert!(!changed.check_integrity(&key).is_valid());
        assert!(!changed.check_integrity_sha256(&key).is_valid());
        assert!(!changed.check_fingerprint().is_valid());
    }
}

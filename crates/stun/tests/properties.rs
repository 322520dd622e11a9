//! Any bytes are taken or refused; what is written is read.

use std::net::SocketAddr;

use antiphon_stun::{
    AttributeType, Check, Class, Key, Message, MessageBuilder, Method, ParseError, TransactionId, WriteError,
};
use proptest::prelude::*;

/// Calls every getter: none may panic, whatever the value is.
fn read_all(message: &Message<'_>) {
    let key = Key::short_term("0123456789012345678901");
    let _ = (
        message.class(),
        message.method(),
        message.transaction_id(),
        message.has_integrity(),
    );
    let _ = (
        message.check_integrity(&key),
        message.check_integrity_sha256(&key),
        message.check_fingerprint(),
    );
    let _ = (
        message.username(),
        message.userhash(),
        message.realm(),
        message.nonce(),
        message.software(),
    );
    let _ = message.error_code().map(|error| (error.code, error.reason().len()));
    let _ = (message.unknown_attributes().count(), message.unknown_required().count());
    let _ = (
        message.xor_mapped_address(),
        message.mapped_address(),
        message.alternate_server(),
    );
    let _ = (
        message.priority(),
        message.use_candidate(),
        message.ice_controlled(),
        message.ice_controlling(),
    );
    let _ = (
        message.nomination(),
        message.xor_relayed_address(),
        message.xor_peer_address(),
    );
    let _ = (
        message.xor_peer_addresses().count(),
        message.lifetime(),
        message.channel_number(),
        message.data(),
    );
    let _ = (
        message.requested_transport(),
        message.requested_address_family(),
        message.even_port(),
    );
    let _ = (
        message.reservation_token(),
        message.attributes().count(),
        format!("{message:?}"),
    );
}

const ID: TransactionId = TransactionId([9; 12]);

#[test]
fn v06_every_attribute_at_every_length() {
    // V6: a length that the attribute does not have must not be fatal, in the typed getters either.
    let known = (0..=0x30).chain(0x8000..=0x8030).chain(0xc000..=0xc080).chain([0xff00]);
    for kind in known {
        for len in 0..=32 {
            for fill in [0x00, 0x01, 0x02, 0x80, 0xff] {
                let mut buffer = [0; 64];
                let mut builder = MessageBuilder::new(&mut buffer, Class::Error, Method::BINDING, ID);
                builder.put(AttributeType(kind), &[fill; 32][..len]);
                let size = builder.finish().unwrap();
                let message = Message::parse(&buffer[..size]).unwrap();
                read_all(&message);
                // The length field may lie, too.
                for lie in [0, len as u16 + 1, len as u16 + 5, u16::MAX] {
                    buffer[22..24].copy_from_slice(&lie.to_be_bytes());
                    if let Ok(message) = Message::parse(&buffer[..size]) {
                        read_all(&message);
                    }
                }
            }
        }
    }
}

/// A value of an address attribute that says it is of this family.
fn address_value(family: u8, len: usize) -> Vec<u8> {
    let mut value: Vec<u8> = (0..len as u8).collect();
    if let Some(byte) = value.get_mut(1) {
        *byte = family;
    }
    value
}

#[test]
fn v06_mend21_addresses_of_the_wrong_length_or_family_are_none_and_right_ones_are_written_back() {
    let kinds = [
        AttributeType::MAPPED_ADDRESS,
        AttributeType::ALTERNATE_SERVER,
        AttributeType::XOR_MAPPED_ADDRESS,
        AttributeType::XOR_PEER_ADDRESS,
        AttributeType::XOR_RELAYED_ADDRESS,
    ];
    for kind in kinds {
        for family in 0..=u8::MAX {
            for len in 0..=32 {
                let value = address_value(family, len);
                let mut buffer = [0; 64];
                let mut builder = MessageBuilder::new(&mut buffer, Class::Success, Method::BINDING, ID);
                builder.put(kind, &value);
                let size = builder.finish().unwrap();
                let message = Message::parse(&buffer[..size]).unwrap();
                let read = match kind {
                    AttributeType::MAPPED_ADDRESS => message.mapped_address(),
                    AttributeType::ALTERNATE_SERVER => message.alternate_server(),
                    AttributeType::XOR_MAPPED_ADDRESS => message.xor_mapped_address(),
                    AttributeType::XOR_PEER_ADDRESS => message.xor_peer_address(),
                    _ => message.xor_relayed_address(),
                };
                let right = matches!((family, len), (1, 8) | (2, 20));
                assert_eq!(read.is_some(), right, "{kind:?}, family {family}, {len} bytes");
                let Some(address) = read else { continue };
                assert_eq!(address.is_ipv4(), family == 1);
                // Written again, it is what it was; the first byte is nobody's, and written as 0.
                let mut again = [0; 64];
                let mut builder = MessageBuilder::new(&mut again, Class::Success, Method::BINDING, ID);
                match kind {
                    AttributeType::MAPPED_ADDRESS | AttributeType::ALTERNATE_SERVER => builder.address(kind, address),
                    _ => builder.xor_address(kind, address),
                };
                let written = builder.finish().unwrap();
                buffer[24] = 0;
                assert_eq!(again[..written], buffer[..size]);
            }
        }
    }
}

#[test]
fn v06_mend21_whatever_was_read_can_be_written_and_read_again() {
    let known = (0..=0x30).chain(0x8000..=0x8030).chain(0xc000..=0xc080).chain([0xff00]);
    // Those that end a message are written by what they check.
    let ends = [0x0008, 0x001c, 0x8028];
    for kind in known.filter(|kind| !ends.contains(kind)) {
        for len in 0..=32 {
            for family in [0, 1, 2, 3, 0xff] {
                let value = address_value(family, len);
                let mut buffer = [0; 64];
                let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::ALLOCATE, ID);
                builder.put(AttributeType(kind), &value);
                let size = builder.finish().unwrap();
                let message = Message::parse(&buffer[..size]).unwrap();
                read_all(&message);
                let mut again = [0; 64];
                let mut builder =
                    MessageBuilder::new(&mut again, message.class(), message.method(), message.transaction_id());
                for attribute in message.attributes() {
                    builder.put(attribute.kind, attribute.value);
                }
                let written = builder.finish().unwrap();
                assert_eq!(again[..written], buffer[..size], "{kind:#06x}, {len} bytes");
                read_all(&Message::parse(&again[..written]).unwrap());
            }
        }
    }
}

#[test]
fn what_is_not_stun() {
    let mut buffer = [0; 64];
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, ID);
    builder.fingerprint().put(AttributeType::SOFTWARE, b"late");
    let len = builder.finish().unwrap();
    assert_eq!(
        Message::parse(&buffer[..len]).unwrap_err(),
        ParseError::AfterFingerprint
    );
    assert_eq!(Message::parse(&buffer[..19]).unwrap_err(), ParseError::Length);
    assert_eq!(Message::parse(&buffer[..len - 4]).unwrap_err(), ParseError::Length);
    buffer[4] = 0;
    assert_eq!(Message::parse(&buffer[..len]).unwrap_err(), ParseError::Cookie);
    buffer[0] = 0x80;
    assert_eq!(Message::parse(&buffer[..len]).unwrap_err(), ParseError::Header);
}

#[test]
fn what_follows_the_integrity_does_not_count() {
    let key = Key::short_term("0123456789012345678901");
    let mut buffer = [0; 128];
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, ID);
    builder
        .priority(1)
        .integrity(&key)
        .use_candidate()
        .integrity_sha256(&key)
        .fingerprint();
    let len = builder.finish().unwrap();
    let message = Message::parse(&buffer[..len]).unwrap();
    assert!(!message.use_candidate());
    assert_eq!(message.priority(), Some(1));
    assert_eq!(message.check_integrity(&key), Check::Valid);
    assert_eq!(message.check_integrity_sha256(&key), Check::Valid);
    assert_eq!(message.check_fingerprint(), Check::Valid);
}

#[test]
fn a_full_buffer_is_an_error_that_sticks() {
    let mut buffer = [0; 30];
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, ID);
    builder.software("too long for it").use_candidate();
    assert_eq!(builder.finish(), Err(WriteError::Full));
    assert_eq!(
        MessageBuilder::new(&mut [], Class::Request, Method::BINDING, ID).finish(),
        Err(WriteError::Full)
    );
    let mut buffer = vec![0; 70_000];
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, ID);
    builder.put(AttributeType::DATA, &vec![0; 65_536]);
    assert_eq!(builder.finish(), Err(WriteError::TooLong));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        if let Ok(message) = Message::parse(&bytes) {
            read_all(&message);
        }
    }

    #[test]
    fn no_attributes_panic(
        class in prop_oneof![Just(Class::Request), Just(Class::Indication), Just(Class::Success), Just(Class::Error)],
        method in 0u16..0x1000,
        id: [u8; 12],
        attributes in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
    ) {
        let mut buffer = [0; 512];
        let mut builder = MessageBuilder::new(&mut buffer, class, Method::new(method), TransactionId(id));
        let ends = [0x0008, 0x001c, 0x8028];
        for (kind, value) in attributes.iter().filter(|(kind, _)| !ends.contains(kind)) {
            builder.put(AttributeType(*kind), value);
        }
        let len = builder.finish().unwrap();
        let message = Message::parse(&buffer[..len]).unwrap();
        prop_assert_eq!((message.class(), message.method()), (class, Method::new(method)));
        prop_assert_eq!(message.transaction_id(), TransactionId(id));
        let read: Vec<_> = message.attributes().map(|a| (a.kind.0, a.value.to_vec())).collect();
        let written: Vec<_> = attributes.into_iter().filter(|(kind, _)| !ends.contains(kind)).collect();
        prop_assert_eq!(read, written);
        read_all(&message);
    }

    #[test]
    fn addresses_survive(address: SocketAddr, id: [u8; 12]) {
        let address = SocketAddr::new(address.ip(), address.port());
        let mut buffer = [0; 128];
        let mut builder = MessageBuilder::new(&mut buffer, Class::Success, Method::BINDING, TransactionId(id));
        builder
            .xor_mapped_address(address)
            .address(AttributeType::MAPPED_ADDRESS, address)
            .xor_address(AttributeType::XOR_PEER_ADDRESS, address)
            .error_code(438, "Stale Nonce");
        let len = builder.finish().unwrap();
        let message = Message::parse(&buffer[..len]).unwrap();
        prop_assert_eq!(message.xor_mapped_address(), Some(address));
        prop_assert_eq!(message.mapped_address(), Some(address));
        prop_assert_eq!(message.xor_peer_address(), Some(address));
        let error = message.error_code().unwrap();
        prop_assert_eq!((error.code, error.reason()), (438, "Stale Nonce"));
    }
}

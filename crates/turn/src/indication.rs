//! Send and Data indications (RFC 8656 §11): what stands in front of the data, so that the data need not move.

use std::net::SocketAddr;

use antiphon_stun::{AttributeType, Class, HEADER_LEN, MessageBuilder, Method, TransactionId};

/// The header of an attribute in bytes.
const ATTRIBUTE_HEADER_LEN: usize = 4;

/// How many bytes stand in front of the data: the header, XOR-PEER-ADDRESS, and the header of DATA.
pub(crate) fn indication_head_len(peer: SocketAddr) -> usize {
    let address = if peer.is_ipv4() { 12 } else { 24 };
    HEADER_LEN + address + ATTRIBUTE_HEADER_LEN
}

/// How many bytes of padding follow `len` bytes of data.
pub(crate) fn padding(len: usize) -> usize {
    len.next_multiple_of(4) - len
}

/// Writes what stands in front of `len` bytes of data, and of their padding, into `head`, which is
/// [`indication_head_len`] bytes long.
pub(crate) fn write_indication_head(head: &mut [u8], method: Method, id: TransactionId, peer: SocketAddr, len: usize) {
    let front = indication_head_len(peer);
    let (before, data_header) = head.split_at_mut(front - ATTRIBUTE_HEADER_LEN);
    let mut builder = MessageBuilder::new(before, Class::Indication, method, id);
    builder.xor_address(AttributeType::XOR_PEER_ADDRESS, peer);
    // The length of the head was computed from the same sizes.
    debug_assert_eq!(builder.finish(), Ok(front - ATTRIBUTE_HEADER_LEN));
    let length = (front - HEADER_LEN + len + padding(len)) as u16;
    before[2..4].copy_from_slice(&length.to_be_bytes());
    data_header[..2].copy_from_slice(&AttributeType::DATA.0.to_be_bytes());
    data_header[2..].copy_from_slice(&(len as u16).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use antiphon_stun::Message;

    #[test]
    fn the_head_and_the_data_are_a_message() {
        for peer in ["192.0.2.7:7777", "[2001:db8::7]:7777"] {
            let peer: SocketAddr = peer.parse().unwrap();
            for len in 0..9 {
                let data = vec![7; len];
                let mut message = vec![0; indication_head_len(peer)];
                write_indication_head(&mut message, Method::DATA, TransactionId([5; 12]), peer, len);
                message.extend_from_slice(&data);
                message.extend_from_slice(&[0; 3][..padding(len)]);
                let parsed = Message::parse(&message).unwrap();
                assert_eq!((parsed.class(), parsed.method()), (Class::Indication, Method::DATA));
                assert_eq!(parsed.transaction_id(), TransactionId([5; 12]));
                assert_eq!(
                    (parsed.xor_peer_address(), parsed.data()),
                    (Some(peer), Some(&data[..]))
                );
            }
        }
    }
}

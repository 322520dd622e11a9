//! Packets in TCP, each behind its length (RFC 4571 §2): media and checks of peers between which no UDP goes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::datagram::Datagram;

/// Most bytes of one direction that wait for a segment that is missing: more than any window.
const MAX_WAITING: usize = 4 << 20;

/// One direction of a connection.
#[derive(Debug)]
struct Direction {
    /// The number of the byte that comes next.
    next: u32,
    /// What came before its turn, by how far ahead of `next` it was when it came.
    waiting: BTreeMap<u64, Vec<u8>>,
    waiting_bytes: usize,
    /// Bytes in order, up to `next`, that are not yet a whole packet.
    rest: Vec<u8>,
    /// How many bytes were in order so far.
    taken: u64,
    /// It is something else than packets between lengths, or a part of it was not captured.
    given_up: bool,
}

/// The connections of a capture.
#[derive(Debug, Default)]
pub(super) struct Connections {
    directions: BTreeMap<(SocketAddr, SocketAddr), Direction>,
}

impl Connections {
    /// Takes in a segment whose payload begins at `sequence`, and appends the packets that it makes whole.
    pub(super) fn take(&mut self, segment: Datagram, sequence: u32, begins: bool, out: &mut Vec<Datagram>) {
        let first = sequence.wrapping_add(u32::from(begins));
        let fresh = || Direction {
            next: first,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            rest: Vec::new(),
            taken: 0,
            given_up: false,
        };
        let key = (segment.source, segment.destination);
        if begins {
            self.directions.insert(key, fresh());
        }
        let direction = self.directions.entry(key).or_insert_with(fresh);
        if segment.payload.is_empty() || direction.given_up {
            return;
        }
        direction.insert(first, &segment.payload);
        direction.packets(|payload| {
            out.push(Datagram {
                payload,
                ..segment.clone()
            });
        });
    }
}

impl Direction {
    fn insert(&mut self, sequence: u32, bytes: &[u8]) {
        let ahead = i64::from(sequence.wrapping_sub(self.next) as i32);
        let Ok(start) = u64::try_from(self.taken as i64 + ahead) else {
            return;
        };
        // Of two with the same beginning the longer one.
        let known = self.waiting.entry(start).or_default();
        if known.len() < bytes.len() {
            self.waiting_bytes += bytes.len() - known.len();
            *known = bytes.to_vec();
        }
        while let Some(entry) = self.waiting.first_entry() {
            let start = *entry.key();
            if start > self.taken {
                break;
            }
            let bytes = entry.remove();
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes.len());
            // A part of it may have come before.
            let new = usize::try_from(self.taken - start)
                .ok()
                .and_then(|known| bytes.get(known..));
            let new = new.unwrap_or_default();
            self.rest.extend_from_slice(new);
            self.taken += new.len() as u64;
            self.next = self.next.wrapping_add(new.len() as u32);
        }
        self.given_up |= self.waiting_bytes > MAX_WAITING;
    }

    /// Takes off the packets that are whole.
    fn packets(&mut self, mut each: impl FnMut(Vec<u8>)) {
        let mut rest = &self.rest[..];
        while let Some((length, behind)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            // RFC 7983: STUN, DTLS, TURN channels, RTP and RTCP. Anything else is another protocol.
            if length > 0
                && behind
                    .first()
                    .is_some_and(|first| !matches!(first, 0..=3 | 20..=79 | 128..=191))
            {
                self.given_up = true;
                break;
            }
            let Some((packet, behind)) = behind.split_at_checked(length) else {
                break;
            };
            if length > 0 {
                each(packet.to_vec());
            }
            rest = behind;
        }
        let done = self.rest.len() - rest.len();
        self.rest.drain(..done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(payload: &[u8]) -> Datagram {
        Datagram {
            at: Default::default(),
            source: ([10, 0, 0, 1], 9).into(),
            destination: ([10, 0, 0, 2], 5000).into(),
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn packets_come_out_whole_and_in_order() {
        let stream = [0, 3, 0x80, 1, 2, 0, 0, 0, 4, 0x81, 3, 4, 5, 0, 2, 0, 1];
        let mut connections = Connections::default();
        let mut out = Vec::new();
        let start = u32::MAX - 3;
        connections.take(segment(&[]), start.wrapping_sub(1), true, &mut out);
        // In another order, with one twice and one that overlaps.
        for range in [0..4, 9..13, 0..4, 3..9, 12..17] {
            let sequence = start.wrapping_add(range.start as u32);
            connections.take(segment(&stream[range]), sequence, false, &mut out);
        }
        let payloads: Vec<&[u8]> = out.iter().map(|datagram| &datagram.payload[..]).collect();
        assert_eq!(payloads, [&[0x80, 1, 2][..], &[0x81, 3, 4, 5], &[0, 1]]);
    }

    #[test]
    fn other_protocols_are_left_alone() {
        let mut connections = Connections::default();
        let mut out = Vec::new();
        connections.take(segment(b"GET / HTTP/1.1\r\n"), 7, false, &mut out);
        connections.take(segment(&[0, 2, 0x80, 1]), 23, false, &mut out);
        // TLS: 0x16 0x03 would be a length.
        let mut tls = segment(&[0x16, 0x03, 0x01, 0x02, 0x00]);
        tls.source.set_port(10);
        connections.take(tls, 7, false, &mut out);
        assert!(out.is_empty(), "{out:?}");
    }
}

//! Handshake messages put together from their fragments, and handed on in order (RFC 6347 §4.2.3).

use std::collections::BTreeMap;

use crate::handshake::ranges::Ranges;
use crate::handshake::{FragmentHeader, Message, MessageType};

/// How far ahead of the next message fragments are kept. The longest flight of any version has seven messages.
pub(crate) const MAX_AHEAD: u16 = 12;
/// The longest handshake message that is taken: a chain of certificates needs room.
pub(crate) const MAX_MESSAGE: usize = 32 * 1024;
/// All memory that unfinished messages may take.
pub(crate) const MAX_REASSEMBLY: usize = 64 * 1024;
/// Gaps that one message may have.
const MAX_RANGES: usize = 160;

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// Kept, or known already.
    Kept,
    /// Of a message that was handled long ago.
    Old,
    /// The end of the newest message that was handled: the peer has sent its last flight again.
    LastAgain,
    /// Out of bounds: too long, too far ahead, too scattered, or not welcome any more.
    Refused,
}

/// Puts handshake messages together from fragments in any order, and hands them out in their own (RFC 6347 §4.2.3).
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    next: u16,
    partial: BTreeMap<u16, Partial>,
    closed: bool,
}

#[derive(Debug)]
struct Partial {
    msg_type: MessageType,
    epoch: u16,
    body: Vec<u8>,
    arrived: Ranges,
}

impl Partial {
    fn is_complete(&self) -> bool {
        self.arrived.cover(self.body.len())
    }

    fn add(&mut self, offset: usize, fragment: &[u8]) -> bool {
        let end = offset + fragment.len();
        if !self.arrived.add(offset, end, MAX_RANGES) {
            return false;
        }
        self.body[offset..end].copy_from_slice(fragment);
        true
    }
}

impl Reassembly {
    /// What a fragment is of a message that was handled already; `None` if its message is still to come.
    pub(crate) fn known(&self, header: &FragmentHeader) -> Option<Push> {
        let ahead = header.message_seq.wrapping_sub(self.next);
        let ends = header.offset + header.fragment_length == header.length;
        (ahead > u16::MAX / 2).then_some(if ahead == u16::MAX && ends {
            Push::LastAgain
        } else {
            Push::Old
        })
    }

    /// Takes a fragment that came in `epoch`.
    pub(crate) fn push(&mut self, epoch: u16, header: &FragmentHeader, fragment: &[u8]) -> Push {
        if let Some(known) = self.known(header) {
            return known;
        }
        let ahead = header.message_seq.wrapping_sub(self.next);
        let length = header.length as usize;
        if self.closed || ahead >= MAX_AHEAD || length > MAX_MESSAGE {
            return Push::Refused;
        }
        // A fragment that contradicts what is there is either forged or proves that what is there was: the newer one wins,
        // and the peer's retransmission is then the newest.
        let fits = |p: &Partial| p.msg_type == header.msg_type && p.body.len() == length && p.epoch == epoch;
        if !self.partial.get(&header.message_seq).is_some_and(fits) {
            self.partial.remove(&header.message_seq);
            if !self.make_room(ahead, length) {
                return Push::Refused;
            }
            let partial = Partial {
                msg_type: header.msg_type,
                epoch,
                body: vec![0; length],
                arrived: Ranges::default(),
            };
            self.partial.insert(header.message_seq, partial);
        }
        let added = self
            .partial
            .get_mut(&header.message_seq)
            .is_some_and(|partial| partial.add(header.offset as usize, fragment));
        if added { Push::Kept } else { Push::Refused }
    }

    /// Frees memory for a message by giving up messages that come after it.
    fn make_room(&mut self, ahead: u16, length: usize) -> bool {
        while self.len() + length > MAX_REASSEMBLY {
            let next = self.next;
            let Some(farthest) = self.partial.keys().copied().max_by_key(|seq| seq.wrapping_sub(next)) else {
                return false;
            };
            if farthest.wrapping_sub(next) <= ahead {
                return false;
            }
            self.partial.remove(&farthest);
        }
        true
    }

    /// The next message, if all of it is there.
    pub(crate) fn pop(&mut self) -> Option<Message> {
        if !self.partial.get(&self.next)?.is_complete() {
            return None;
        }
        let Partial {
            msg_type, epoch, body, ..
        } = self.partial.remove(&self.next)?;
        if self.partial.is_empty() {
            // An empty tree keeps a leaf.
            self.partial = BTreeMap::new();
        }
        let message = Message {
            msg_type,
            message_seq: self.next,
            epoch,
            body,
        };
        self.next = self.next.wrapping_add(1);
        Some(message)
    }

    /// Takes back a message that turned out to be nonsense, so that the true one may come in its place.
    pub(crate) fn reject(&mut self, message: &Message) {
        self.next = message.message_seq;
    }

    /// Takes nothing new from now on; repetitions are still recognised.
    pub(crate) fn close(&mut self) {
        self.partial = BTreeMap::new();
        self.closed = true;
    }

    /// Bytes held.
    pub(crate) fn len(&self) -> usize {
        self.partial.values().map(|partial| partial.body.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fragment(seq: u16, length: u32, offset: u32, fragment_length: u32) -> FragmentHeader {
        FragmentHeader {
            msg_type: MessageType::CERTIFICATE,
            length,
            message_seq: seq,
            offset,
            fragment_length,
        }
    }

    #[test]
    fn messages_come_out_in_order() {
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.push(0, &fragment(1, 2, 0, 2), b"bb"), Push::Kept);
        assert_eq!(reassembly.pop(), None);
        assert_eq!(reassembly.push(0, &fragment(0, 0, 0, 0), b""), Push::Kept);
        assert_eq!(reassembly.pop().unwrap().body, b"");
        assert_eq!(reassembly.pop().unwrap().body, b"bb");
        assert_eq!(reassembly.push(0, &fragment(0, 0, 0, 0), b""), Push::Old);
        assert_eq!(reassembly.push(0, &fragment(1, 2, 0, 1), b"b"), Push::Old);
        assert_eq!(reassembly.push(0, &fragment(1, 2, 1, 1), b"b"), Push::LastAgain);
    }

    #[test]
    fn a_contradiction_starts_anew() {
        let mut reassembly = Reassembly::default();
        reassembly.push(0, &fragment(0, 4, 0, 2), b"xx");
        reassembly.push(0, &fragment(0, 3, 0, 1), b"a");
        reassembly.push(1, &fragment(0, 3, 1, 2), b"bc");
        assert_eq!(reassembly.pop(), None, "fragments of two epochs do not mix");
        reassembly.push(1, &fragment(0, 3, 0, 1), b"a");
        let message = reassembly.pop().unwrap();
        assert_eq!((message.body.as_slice(), message.epoch), (&b"abc"[..], 1));
        reassembly.reject(&message);
        reassembly.push(0, &fragment(0, 1, 0, 1), b"z");
        assert_eq!(reassembly.pop().unwrap().body, b"z");
    }

    #[test]
    fn memory_is_bounded_and_the_next_message_has_precedence() {
        let mut reassembly = Reassembly::default();
        assert_eq!(
            reassembly.push(0, &fragment(0, MAX_MESSAGE as u32 + 1, 0, 0), b""),
            Push::Refused
        );
        assert_eq!(reassembly.push(0, &fragment(MAX_AHEAD, 1, 0, 1), b"x"), Push::Refused);
        for seq in (0..MAX_AHEAD).rev() {
            for offset in (0..4000).step_by(2) {
                reassembly.push(0, &fragment(seq, MAX_MESSAGE as u32, offset, 1), b"x");
                assert!(reassembly.len() <= MAX_REASSEMBLY);
            }
        }
        assert!(reassembly.partial.contains_key(&0));
        assert!(reassembly.partial.values().all(|p| p.arrived.len() <= MAX_RANGES));
        reassembly.close();
        assert_eq!(reassembly.len(), 0);
        assert_eq!(reassembly.push(0, &fragment(0, 1, 0, 1), b"x"), Push::Refused);
    }

    proptest! {
        #[test]
        fn any_cut_in_any_order_is_put_together(
            body in prop::collection::vec(any::<u8>(), 1..600),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 1usize..80), 1..20),
            seed in any::<[u8; 16]>(),
        ) {
            let len = body.len();
            let mut pieces: Vec<(usize, usize)> =
                cuts.iter().map(|(at, n)| { let at = at.index(len); (at, (*n).min(len - at)) }).collect();
            pieces.extend((0..len).step_by(37).map(|at| (at, 37.min(len - at))));
            for index in (1..pieces.len()).rev() {
                pieces.swap(index, usize::from(seed[index % 16]) % (index + 1));
            }
            let mut reassembly = Reassembly::default();
            for (at, n) in pieces {
                let header = fragment(0, len as u32, at as u32, n as u32);
                prop_assert_eq!(reassembly.push(0, &header, &body[at..at + n]), Push::Kept);
            }
            prop_assert_eq!(reassembly.pop().map(|m| m.body), Some(body));
        }
    }
}

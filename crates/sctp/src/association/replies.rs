//! Chunks that answer the peer and wait for a packet.

use std::collections::VecDeque;

use crate::chunk::Chunk;

/// The oldest goes when there are more.
const MAX_REPLIES: usize = 16;

#[derive(Debug)]
pub(super) struct Reply {
    /// The packet's verification tag, if not the peer's present one.
    pub(super) tag: Option<u32>,
    pub(super) bytes: Vec<u8>,
    /// No other chunk may share its packet.
    alone: bool,
}

impl Reply {
    /// A chunk that goes with others.
    pub(super) fn chunk(chunk: &Chunk<'_>) -> Self {
        let mut bytes = Vec::new();
        chunk.write(&mut bytes);
        Self::written(bytes)
    }

    /// The same, written already.
    pub(super) fn written(bytes: Vec<u8>) -> Self {
        Self {
            tag: None,
            bytes,
            alone: false,
        }
    }

    /// A chunk that has a packet of its own, with this verification tag.
    pub(super) fn packet(tag: u32, chunk: &Chunk<'_>) -> Self {
        Self {
            tag: Some(tag),
            alone: true,
            ..Self::chunk(chunk)
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Replies(VecDeque<Reply>);

impl Replies {
    pub(super) fn push(&mut self, reply: Reply) {
        if self.0.len() == MAX_REPLIES {
            self.0.pop_front();
        }
        self.0.push_back(reply);
    }

    /// Gives back memory that nothing needs now.
    pub(super) fn give_back(&mut self) {
        self.0.shrink_to_fit();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The next one, if it has a packet of its own.
    pub(super) fn pop_alone(&mut self) -> Option<Reply> {
        self.0.pop_front_if(|reply| reply.alone)
    }

    /// The next one, if it may share its packet and has at most so many bytes.
    pub(super) fn pop_shared(&mut self, room: usize) -> Option<Reply> {
        self.0.pop_front_if(|reply| !reply.alone && reply.bytes.len() <= room)
    }
}

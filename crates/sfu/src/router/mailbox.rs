//! What a consumer without a peer has got and nobody has fetched yet.

use std::collections::VecDeque;

use antiphon_media::Packet;

use super::producing::Format;

/// Packets that wait for who fetches them. The oldest go first, and are counted.
pub const MAX_DIRECT: usize = 1024;

/// What comes of a consumer without a peer.
#[derive(Clone, Debug)]
pub enum Direct {
    /// What comes from now on is of this format. It is told first, and again when it is another.
    Format(Format),
    /// A packet: with the SSRC, the payload type and the RID of its source, and numbers without a hole for a pause.
    Packet(Packet),
}

/// Packets that wait, and the format of them.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    format: Option<Format>,
    packets: VecDeque<Packet>,
    /// Packets that were dropped because too many waited.
    pub(super) dropped: u64,
    /// It is in the router's list of those where something waits.
    pub(super) is_listed: bool,
}

impl Mailbox {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format: Some(format),
            packets: VecDeque::new(),
            dropped: 0,
            is_listed: true,
        }
    }

    /// What comes from now on is of another format. What nobody has fetched could not be read by it.
    pub(super) fn set_format(&mut self, format: Format) {
        self.dropped += self.packets.len() as u64;
        self.packets.clear();
        self.format = Some(format);
    }

    pub(super) fn push(&mut self, packet: Packet) {
        if self.packets.len() >= MAX_DIRECT {
            self.packets.pop_front();
            self.dropped += 1;
        }
        self.packets.push_back(packet);
    }

    pub(super) fn pop(&mut self) -> Option<Direct> {
        let format = self.format.take().map(Direct::Format);
        format.or_else(|| self.packets.pop_front().map(Direct::Packet))
    }
}

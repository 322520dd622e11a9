//! A packet as one consumer after the other gets it, without a copy for each.

use antiphon_media::Packet;

/// A packet that is written anew for each consumer. What consumers do not change is copied once.
#[derive(Debug)]
pub(crate) struct Draft {
    packet: Packet,
    /// Payload and extensions are those of the source.
    is_whole: bool,
}

impl Draft {
    pub(crate) fn new(source: &Packet) -> Self {
        Self {
            packet: source.clone(),
            is_whole: true,
        }
    }

    /// The packet, with the payload and the extensions of `source`, and whatever else the last consumer made of it. `afresh`: the
    /// extensions are going to be changed, or may have been.
    #[inline]
    pub(crate) fn whole(&mut self, source: &Packet, afresh: bool) -> &mut Packet {
        if !self.is_whole || afresh {
            self.packet.clone_from(source);
            self.is_whole = true;
        }
        &mut self.packet
    }

    /// The packet with nothing in it.
    pub(crate) fn empty(&mut self) -> &mut Packet {
        self.is_whole = false;
        self.packet.payload = Default::default();
        self.packet.extensions = Default::default();
        self.packet.contributors = None;
        &mut self.packet
    }

    /// The packet as the last consumer gets it.
    #[inline]
    pub(crate) fn packet(&self) -> &Packet {
        &self.packet
    }

    pub(crate) fn into_packet(self) -> Packet {
        self.packet
    }

    pub(crate) fn set_payload_type(&mut self, payload_type: u8) {
        self.packet.payload_type = payload_type;
    }
}

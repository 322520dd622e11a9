//! Sound as one consumer gets it: as it is, under numbers that go on where nothing went on for a while.

use antiphon_media::Packet;

use crate::renumbering::{Place, Renumbering};

/// A source whose numbers jump further than this has begun anew.
const MAX_GAP: u64 = 1000;

/// The numbers of one source for one consumer. Timestamps stay: what was not heard was silence.
#[derive(Clone, Debug, Default)]
pub(super) struct Sound {
    source: Option<(u32, Renumbering)>,
    /// Nothing went on since the newest packet.
    interrupted: bool,
}

impl Sound {
    /// Nothing goes on for a while.
    pub(super) fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// The number of a packet as the consumer gets it; `None`: it comes too late to have one.
    pub(super) fn take(&mut self, packet: &Packet) -> Option<u64> {
        let sequence = packet.sequence;
        match &mut self.source {
            Some((ssrc, numbers)) if *ssrc == packet.ssrc => {
                let is_new = numbers.place(sequence) == Place::New;
                let is_far = is_new && sequence.wrapping_sub(numbers.newest()) > MAX_GAP;
                if self.interrupted || is_far {
                    if !is_new {
                        return None;
                    }
                    numbers.jump(sequence);
                }
                self.interrupted = false;
                numbers.pass(sequence)
            }
            // The connection of the consumer knows by the SSRC that it is another source, and goes on by itself.
            source => {
                *source = Some((
                    packet.ssrc,
                    Renumbering::new(sequence.wrapping_add(1), sequence.wrapping_add(1)),
                ));
                self.interrupted = false;
                Some(sequence)
            }
        }
    }
}

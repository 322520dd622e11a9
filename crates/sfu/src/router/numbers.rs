//! Packets that go on as they are, under numbers that close up where nothing went on for a while, or where some were left out: sound, and
//! what crosses a pipe.

use crate::renumbering::{Place, Renumbering};

/// A source whose numbers jump further than this has begun anew.
const MAX_GAP: u64 = 1000;

/// The numbers of one source, of a producer for all its consumers or for one of them. Timestamps stay: what did not go on took its time.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    source: Option<(u32, Renumbering)>,
    /// Nothing went on since the newest packet.
    interrupted: bool,
}

impl Numbers {
    /// Nothing goes on for a while.
    pub(super) fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// A packet does not go on: what comes behind it closes up.
    pub(super) fn leave_out(&mut self, source: u32, sequence: u64) {
        match &mut self.source {
            Some((ssrc, numbers)) if *ssrc == source => numbers.leave_out(sequence),
            // It begins with what goes on.
            known => *known = None,
        }
    }

    /// The number of a packet as it goes on; `None`: it comes too late to have one.
    pub(super) fn take(&mut self, source: u32, sequence: u64) -> Option<u64> {
        match &mut self.source {
            Some((ssrc, numbers)) if *ssrc == source => {
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
            known => {
                *known = Some((
                    source,
                    Renumbering::new(sequence.wrapping_add(1), sequence.wrapping_add(1)),
                ));
                self.interrupted = false;
                Some(sequence)
            }
        }
    }
}

//! The queue in which events wait for the application.

use std::collections::VecDeque;

use crate::event::{Event, Frame, ReceiverId, SenderId};
use crate::transform::{Known, Transforms};

/// Most events that wait to be fetched; the oldest frames and packets go first.
const MAX_EVENTS: usize = 2048;

/// The events that wait to be fetched.
#[derive(Debug, Default)]
pub(crate) struct Events {
    queue: VecDeque<Event>,
    /// Those that were not fetched in time.
    pub(crate) dropped: u64,
    /// What is done with the frames of receivers before they wait.
    pub(crate) transforms: Transforms<ReceiverId>,
}

impl Events {
    #[inline]
    pub(crate) fn push(&mut self, event: Event) {
        if self.queue.len() >= MAX_EVENTS {
            let media =
                |event: &Event| matches!(event, Event::Frame { .. } | Event::Packet { .. } | Event::Sound { .. });
            let index = self.queue.iter().position(media).unwrap_or(0);
            self.queue.remove(index);
            self.dropped += 1;
        }
        self.queue.push_back(event);
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    /// Tells a sender's share. The newest figure alone is of use.
    pub(crate) fn push_target(&mut self, sender: SenderId, bps: u64) {
        let is_old = |event: &Event| matches!(event, Event::TargetBitrate { sender: own, .. } if *own == sender);
        self.queue.retain(|event| !is_old(event));
        self.push(Event::TargetBitrate { sender, bps });
    }

    /// A frame is whole: lets the transform of its receiver do its work. Whether it goes on, and whether that wants a key frame.
    pub(crate) fn transform(&mut self, receiver: ReceiverId, frame: &mut Frame, known: &Known<'_>) -> (bool, bool) {
        self.transforms.apply(receiver, frame, known)
    }
}

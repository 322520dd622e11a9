//! What a session publishes: tracks, each of which one of its transceivers feeds.

use std::sync::Arc;
use std::time::Instant;

use antiphon::{Packet, Rid, TransceiverId};
use tokio::sync::mpsc;

use super::track::{Described, Intake, Publisher, Wanted};

/// The publisher that a session is.
#[derive(Debug)]
pub(in crate::server) struct Published {
    publisher: Arc<Publisher>,
    /// Where its packets go: one for each track, in order.
    intakes: Vec<(TransceiverId, Intake)>,
    /// What watchers want a key frame of.
    wanted: mpsc::Receiver<Wanted>,
}

impl Published {
    /// A publisher with these tracks, each with the encodings that were negotiated.
    pub(in crate::server) fn new(session: u64, sections: Vec<(TransceiverId, Described, Vec<Rid>)>) -> Self {
        let tracks = sections.iter().map(|(_, described, _)| described.clone()).collect();
        let (publisher, wanted) = Publisher::new(session, tracks);
        let intakes = sections.into_iter().zip(publisher.tracks());
        let intakes = intakes.map(|((id, _, rids), track)| (id, Intake::new(track.clone(), &rids)));
        Self {
            intakes: intakes.collect(),
            publisher,
            wanted,
        }
    }

    /// What watchers find.
    pub(in crate::server) fn publisher(&self) -> &Arc<Publisher> {
        &self.publisher
    }

    fn intake(&mut self, transceiver: TransceiverId) -> Option<&mut Intake> {
        let mut intakes = self.intakes.iter_mut();
        intakes.find(|(id, _)| *id == transceiver).map(|(_, intake)| intake)
    }

    /// Takes a packet. Returns the source that is to be asked for a key frame now, if one is.
    pub(in crate::server) fn take(&mut self, transceiver: TransceiverId, packet: Packet) -> Option<u32> {
        self.intake(transceiver)?.take(Instant::now(), packet)
    }

    /// A source is one of several encodings, the one of this place in the description, and has no RID that says so.
    pub(in crate::server) fn place_source(&mut self, transceiver: TransceiverId, ssrc: u32, place: u8) {
        if let Some(intake) = self.intake(transceiver) {
            intake.place_source(ssrc, place);
        }
    }

    /// A source said goodbye.
    pub(in crate::server) fn source_ended(&mut self, transceiver: TransceiverId, ssrc: u32) {
        if let Some(intake) = self.intake(transceiver) {
            intake.source_ended(ssrc);
        }
    }

    /// Waits until watchers want a key frame, and tells the source that is to be asked for it; for ever, without a
    /// publisher. Cancel safe.
    pub(in crate::server) async fn wanted(own: &mut Option<Self>) -> (TransceiverId, u32) {
        let Some(own) = own else {
            return std::future::pending().await;
        };
        loop {
            let Some(wanted) = own.wanted.recv().await else {
                return std::future::pending().await;
            };
            let intake = own.intakes.get_mut(wanted.track);
            if let Some(asked) = intake.and_then(|(id, intake)| Some((*id, intake.want(Instant::now(), wanted)?))) {
                return asked;
            }
        }
    }
}

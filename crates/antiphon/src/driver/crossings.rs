//! The crossings of one router: where packets go in for others, and where those of others come out.

use std::collections::HashMap;
use std::time::Instant;

use antiphon_media::Packet;
use antiphon_peer_connection::EncodingId;
use antiphon_sfu::Router;
use antiphon_sfu::router::{ConsumerId, Direct, Event, PeerKey, ProducerId};

use super::crossing::{Entry, Exit};

/// The crossings of one router.
#[derive(Default)]
pub(crate) struct Crossings {
    /// Where the packets of a consumer without a peer go in.
    entries: HashMap<ConsumerId, Entry, foldhash::fast::RandomState>,
    /// Where those of a producer without a peer come out.
    exits: HashMap<ProducerId, Exit, foldhash::fast::RandomState>,
    /// Events of the router that were dropped, at the last look.
    dropped: u64,
}

impl Crossings {
    /// What a consumer gets goes in here.
    pub(crate) fn enter(&mut self, consumer: ConsumerId, entry: Entry) {
        self.entries.insert(consumer, entry);
    }

    /// What comes out here is a producer's.
    pub(crate) fn leave(&mut self, producer: ProducerId, exit: Exit) {
        self.exits.insert(producer, exit);
    }

    /// Hands the router what has come for a producer.
    pub(super) fn came(
        &self,
        now: Instant,
        router: &mut Router,
        producer: ProducerId,
        run: &mut Vec<Packet>,
        outlet: impl FnMut(PeerKey, EncodingId, &Packet) -> bool,
    ) {
        let Some(exit) = self.exits.get(&producer) else { return };
        let came = exit.take(run);
        // The producer may be closed: then this is dropped with it.
        if let Some(format) = came.format {
            _ = router.set_format(now, producer, format);
        }
        _ = router.handle_direct(now, producer, run, outlet);
        run.clear();
        if came.is_over {
            // What came last goes on first.
            self.fetch(router, run);
            _ = router.close_producer(producer);
        }
    }

    /// Hands the router what is asked of a consumer.
    pub(super) fn asked(&self, now: Instant, router: &mut Router, consumer: ConsumerId) {
        let Some(entry) = self.entries.get(&consumer) else {
            return;
        };
        // The consumer may be closed: then nobody is asked.
        match entry.take_asked() {
            Some(sources) => {
                for ssrc in sources {
                    _ = router.request_direct_key_frame(now, consumer, ssrc);
                }
            }
            None => _ = router.close_consumer(consumer),
        }
    }

    /// Asks for a key frame of what comes for a producer.
    pub(super) fn ask(&self, producer: ProducerId, ssrc: u32) {
        if let Some(exit) = self.exits.get(&producer) {
            exit.ask(ssrc);
        }
    }

    /// Fetches what the router has for others.
    pub(super) fn fetch(&self, router: &mut Router, run: &mut Vec<Packet>) {
        let mut of = None;
        while let Some((consumer, direct)) = router.poll_direct() {
            if let Some(before) = of.replace(consumer).filter(|before| *before != consumer) {
                self.put(before, run);
            }
            match direct {
                Direct::Packet(packet) => run.push(packet),
                Direct::Format(format) => {
                    self.put(consumer, run);
                    if let Some(entry) = self.entries.get(&consumer) {
                        entry.set_format(format);
                    }
                }
            }
        }
        if let Some(consumer) = of {
            self.put(consumer, run);
        }
    }

    fn put(&self, consumer: ConsumerId, run: &mut Vec<Packet>) {
        if let Some(entry) = self.entries.get(&consumer).filter(|_| !run.is_empty()) {
            entry.push(run.drain(..));
        }
        run.clear();
    }

    /// Hears what happened in the router: what ends there ends the crossing, which tells the other end.
    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::ConsumerClosed { consumer, .. } => _ = self.entries.remove(consumer),
            Event::ProducerClosed { producer, .. } => _ = self.exits.remove(producer),
            _ => {}
        }
    }

    /// Looks for what has ended, if more happened at once than the router tells.
    pub(super) fn look(&mut self, router: &Router) {
        let dropped = router.events_dropped();
        if std::mem::replace(&mut self.dropped, dropped) != dropped {
            self.entries.retain(|consumer, _| router.consumer(*consumer).is_ok());
            self.exits.retain(|producer, _| router.producer(*producer).is_ok());
        }
    }
}

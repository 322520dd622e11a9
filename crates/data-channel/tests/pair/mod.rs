//! Two sets of channels and the link between them, held to the laws.
#![allow(dead_code, unreachable_pub)]

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::{Duration, Instant};

use antiphon_data_channel::{ChannelId, ChannelInit, Config, DataChannels, Event, Message, Start};
use antiphon_netsim::{LinkConfig, Machine, Pipe, to_the_other_end};
use antiphon_sansio::{self as sansio, BytesMut, Datagram, Ecn, Rng, Transmit, TransmitBuf};
use antiphon_sctp::chunk::{Chunk, Reset};
use antiphon_sctp::packet::Packet;

/// Who asked for the reset of which streams, in order of arrival.
type Resets = Rc<RefCell<Vec<(usize, Vec<u16>)>>>;

/// One end. An association that has ended still answers a peer that asks again, so that it is never silent for good.
#[derive(Debug)]
pub struct End {
    channels: DataChannels,
    peer: usize,
    resets: Resets,
}

impl Deref for End {
    type Target = DataChannels;

    fn deref(&self) -> &DataChannels {
        &self.channels
    }
}

impl DerefMut for End {
    fn deref_mut(&mut self) -> &mut DataChannels {
        &mut self.channels
    }
}

impl Machine for End {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.note_resets(&datagram.data);
        let Datagram { ecn, data, .. } = datagram;
        self.channels.handle_packet(now, sansio::Packet { ecn, data });
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.channels.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let outgoing = self.channels.poll_transmit(now, out)?;
        Some(to_the_other_end(out.finish(), outgoing.ecn))
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.channels.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.channels.poll_timeout()
    }

    fn close(&mut self, now: Instant) {
        self.channels.close(now);
    }
}

impl End {
    fn note_resets(&self, packet: &[u8]) {
        for chunk in Packet::parse(packet).unwrap().chunks() {
            let Ok(Chunk::ReConfig(re_config)) = chunk else {
                continue;
            };
            for reset in re_config.resets() {
                if let Ok(Reset::Outgoing { streams, .. }) = reset {
                    self.resets.borrow_mut().push((self.peer, streams.iter().collect()));
                }
            }
        }
    }
}

pub type Pair = Pipe<End>;

pub fn start(dtls_client: bool, remote_max_message_size: usize) -> Start {
    Start {
        dtls_client,
        remote_max_message_size,
        remote_port: 5000,
    }
}

pub fn packet(bytes: &[u8]) -> sansio::Packet {
    let (ecn, data) = (Ecn::NotEct, BytesMut::from(bytes));
    sansio::Packet { ecn, data }
}

/// What the tests do with a pair.
pub trait Channels: Sized {
    fn of(seed: u64, config: Config) -> Self;
    fn connected(seed: u64) -> Self;
    fn start(&mut self);
    fn set_loss(&mut self, loss: f64);
    fn resets(&self) -> Vec<(usize, Vec<u16>)>;
    fn open(&mut self, end: usize, init: ChannelInit) -> ChannelId;
    fn say(&mut self, end: usize, id: ChannelId, message: Message);
    fn incoming(&self, end: usize) -> Vec<ChannelId>;
    fn clear(&mut self);
}

impl Channels for Pair {
    fn of(seed: u64, config: Config) -> Self {
        let (now, rng) = (antiphon_netsim::start(), Rng::from_u64(seed));
        let link = LinkConfig {
            delay: Duration::from_millis(5),
            ..LinkConfig::default()
        };
        let resets = Resets::default();
        let end = |number: usize, label| End {
            channels: DataChannels::new(config.clone(), now, rng.fork(label)),
            peer: 1 - number,
            resets: Rc::clone(&resets),
        };
        let mut pair = Self::new(seed, link, [end(0, "a"), end(1, "b")]);
        pair.out = TransmitBuf::new(2000, 1500);
        pair
    }

    fn connected(seed: u64) -> Self {
        let mut pair = Self::of(seed, Config::default());
        pair.start();
        pair.run_for(Duration::from_secs(1));
        assert!(pair.events.iter().all(|events| events.contains(&Event::Connected)));
        pair
    }

    fn start(&mut self) {
        self.ends[0].start(self.now, start(true, 262_144));
        self.ends[1].start(self.now, start(false, 262_144));
    }

    fn set_loss(&mut self, loss: f64) {
        for end in 0..2 {
            self.link(end).loss = loss;
        }
    }

    fn resets(&self) -> Vec<(usize, Vec<u16>)> {
        self.ends[0].resets.borrow().clone()
    }

    fn open(&mut self, end: usize, init: ChannelInit) -> ChannelId {
        self.ends[end].open(self.now, init).unwrap()
    }

    fn say(&mut self, end: usize, id: ChannelId, message: Message) {
        self.ends[end].send(self.now, id, message).unwrap();
    }

    fn incoming(&self, end: usize) -> Vec<ChannelId> {
        let ids = self.events[end].iter().filter_map(|event| match event {
            Event::Incoming(id) => Some(*id),
            _ => None,
        });
        ids.collect()
    }

    fn clear(&mut self) {
        self.events.iter_mut().for_each(Vec::clear);
    }
}

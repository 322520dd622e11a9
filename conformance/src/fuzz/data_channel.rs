//! Data channels of two ends over an association.

use std::time::Instant;

use antiphon_data_channel::{ChannelId, ChannelInit, Config, DataChannels, Event, Message, Start};
use antiphon_netsim::Machine;
use antiphon_sansio::{Datagram, Packet, Rng, Transmit, TransmitBuf};

use super::pair::{self, End};
use super::sctp;

pub(super) fn machine(data: &[u8]) {
    let now = antiphon_netsim::start();
    let rng = Rng::from_u64(1);
    let ends = [("client", true), ("server", false)].map(|(name, dtls_client)| {
        let config = Config {
            association: antiphon_data_channel::sctp::Config {
                partial_delivery: data.len().is_multiple_of(5),
                ..sctp::config()
            },
            max_channels: 8,
        };
        let mut channels = DataChannels::new(config, now, rng.fork(name));
        let start = Start {
            dtls_client,
            remote_max_message_size: 8 * 1024,
            remote_port: 5000,
        };
        channels.start(now, start);
        Channels {
            channels,
            known: Vec::new(),
        }
    });
    pair::run(now, ends, &sctp::seal, data);
}

struct Channels {
    channels: DataChannels,
    known: Vec<ChannelId>,
}

impl Channels {
    fn choose(&self, argument: u8) -> Option<ChannelId> {
        let count = self.known.len();
        (count > 0).then(|| self.known[usize::from(argument) % count])
    }
}

impl Machine for Channels {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let Datagram { ecn, data, .. } = datagram;
        self.channels.handle_packet(now, Packet { ecn, data });
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.channels.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let outgoing = self.channels.poll_transmit(now, out)?;
        Some(Transmit {
            ecn: outgoing.ecn,
            ..pair::whole(out.finish())
        })
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.channels.poll_event();
        if let Some(Event::Incoming(id)) = event {
            self.known.push(id);
        }
        event
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.channels.poll_timeout()
    }

    fn close(&mut self, now: Instant) {
        self.channels.close(now);
    }
}

impl End for Channels {
    fn act(&mut self, now: Instant, action: u8, argument: u8) -> Option<Vec<u8>> {
        let channel = self.choose(argument);
        match (action % 12, channel) {
            (0 | 1, _) => {
                let mut init = ChannelInit::new("label");
                init.ordered = argument & 1 == 0;
                init.max_retransmits = (argument & 2 != 0).then_some(0);
                init.max_packet_life_time = (argument & 4 != 0).then_some(50);
                init.negotiated = (argument & 8 != 0).then_some(u16::from(argument >> 4));
                if let Ok(id) = self.channels.open(now, init) {
                    self.known.push(id);
                }
            }
            (2..=5, Some(channel)) => {
                let len = [0, 1, 700, 3_000][usize::from(action % 4)];
                let message = if argument & 0x80 == 0 {
                    Message::text("x".repeat(len))
                } else {
                    Message::binary(vec![argument; len])
                };
                let _ = self.channels.send(now, channel, message);
            }
            (6, Some(channel)) => while self.channels.read(now, channel).is_some() {},
            (7, Some(channel)) => while self.channels.read_piece(now, channel).is_some() {},
            (8, Some(channel)) => self.channels.close_channel(now, channel),
            (9, Some(channel)) => {
                let state = self.channels.state(channel);
                self.channels.forget(now, channel);
                assert!(self.channels.info(channel).is_none() || state.is_some());
            }
            (10, Some(channel)) => self
                .channels
                .set_buffered_amount_low_threshold(channel, usize::from(argument) * 8),
            (11, _) if argument > 240 => self.channels.abort(now),
            _ => {}
        }
        assert!(self.channels.channels().count() <= 8 + 256, "channels are bounded");
        None
    }
}

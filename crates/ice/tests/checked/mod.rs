//! An agent that is held to the laws at every call.
#![allow(dead_code, unreachable_pub)]

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use antiphon_ice::{Agent, Config, ConnectionState, Event};
use antiphon_netsim::{Checked, Machine};
use antiphon_sansio::{Datagram, Rng, Transmit, TransmitBuf};

/// An agent, and what it has handed to the layers above.
#[derive(Debug)]
pub struct AgentMachine {
    agent: Agent,
    pub received: Vec<Datagram>,
}

/// A checked agent.
pub fn agent(config: Config, rng: Rng) -> Checked<AgentMachine> {
    Checked::new(AgentMachine {
        agent: Agent::new(config, rng),
        received: Vec::new(),
    })
}

impl Deref for AgentMachine {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

impl DerefMut for AgentMachine {
    fn deref_mut(&mut self) -> &mut Agent {
        &mut self.agent
    }
}

impl Machine for AgentMachine {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.received.extend(self.agent.handle_datagram(now, datagram));
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.agent.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        self.agent.poll_transmit(now, out)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.agent.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.agent.poll_timeout()
    }

    fn close(&mut self, now: Instant) {
        self.agent.close(now);
    }

    fn is_terminated(&self) -> bool {
        self.agent.state() == ConnectionState::Closed
    }
}

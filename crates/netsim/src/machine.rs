//! What a machine is to a test, and the wrapper that holds it to the laws.

use std::fmt::Debug;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use antiphon_sansio::{Datagram, Transmit, TransmitBuf};

use crate::ids::HostId;
use crate::network::Network;
use crate::tcp::TcpEvent;

/// More outputs than this from one step are taken for an endless loop.
pub const MAX_OUTPUTS_PER_STEP: usize = 100_000;

/// The convention that every protocol machine follows, as tests see it. The crates themselves share no trait.
pub trait Machine {
    /// What `poll_event` gives.
    type Event: Debug;

    /// Takes a datagram from the network.
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram);
    /// Told that the time of `poll_timeout` has come; may be told too early or too often.
    fn handle_timeout(&mut self, now: Instant);
    /// Writes the next datagrams and closes their segments.
    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit>;
    /// The next event.
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// When to call `handle_timeout`.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Ends it.
    fn close(&mut self, now: Instant);

    /// Whether it is in a terminal state: what is queued drains, and then there is nothing for ever (law 6).
    fn is_terminated(&self) -> bool {
        false
    }

    /// Whether it passes on the datagrams of others, which may be empty. A machine has no reason to send an empty one of its own.
    fn is_relay(&self) -> bool {
        false
    }

    /// Something happened to a TCP connection of the host.
    fn handle_tcp(&mut self, now: Instant, event: TcpEvent) {
        let _ = (now, event);
    }

    /// Serves what the machine asks of the world besides datagrams (`poll_io` and `handle_io`): binds sockets and so on.
    fn serve_io(&mut self, now: Instant, network: &mut Network, host: HostId) {
        let _ = (now, network, host);
    }
}

/// Asserts the laws of the convention around every call (docs/architecture.md, "The eight laws").
///
/// Law 2: `poll_timeout` is pure, and after `handle_timeout(t)` and a drain it is `None` or later than `t`.
/// Law 3: `poll_event` moves no timer. Law 6: a terminated machine drains and then stays silent.
/// Laws 1 and 7: outputs of one step are bounded. And no datagram exceeds the largest that the buffer allows.
/// Law 8 is compared from outside, by [`Checked::transcript`].
#[derive(Debug)]
pub struct Checked<M> {
    machine: M,
    outputs: usize,
    last_timeout: Option<Instant>,
    silent: bool,
    transcript: u64,
}

impl<M: Machine> Checked<M> {
    /// Wraps a machine.
    pub fn new(machine: M) -> Self {
        Self {
            machine,
            outputs: 0,
            last_timeout: None,
            silent: false,
            transcript: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// A hash (FNV-1a) of every byte sent so far: the same seed and inputs must give the same (law 8).
    pub fn transcript(&self) -> u64 {
        self.transcript
    }

    /// Call when everything is drained: checks what holds only then.
    pub fn drained(&mut self) {
        if let Some(told) = self.last_timeout.take() {
            let next = self.pure_timeout();
            assert!(
                next.is_none_or(|next| next > told),
                "law 2: after handle_timeout and a drain, poll_timeout is not later"
            );
        }
        if self.machine.is_terminated() {
            assert_eq!(self.pure_timeout(), None, "law 6: a terminated machine has a timer");
            self.silent = true;
        }
    }

    fn step(&mut self) {
        self.outputs = 0;
        self.last_timeout = None;
    }

    fn output(&mut self) {
        assert!(!self.silent, "law 6: output after a terminated machine was drained");
        self.outputs += 1;
        assert!(
            self.outputs <= MAX_OUTPUTS_PER_STEP,
            "law 1: one step gives more than {MAX_OUTPUTS_PER_STEP} outputs"
        );
    }

    fn pure_timeout(&self) -> Option<Instant> {
        let first = self.machine.poll_timeout();
        assert_eq!(first, self.machine.poll_timeout(), "law 2: poll_timeout is not pure");
        first
    }
}

/// The machine, to look at.
impl<M: Machine> Deref for Checked<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.machine
    }
}

/// The machine, to call what the convention does not know: a step.
impl<M: Machine> DerefMut for Checked<M> {
    fn deref_mut(&mut self) -> &mut M {
        self.step();
        &mut self.machine
    }
}

impl<M: Machine> Machine for Checked<M> {
    type Event = M::Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.step();
        self.machine.handle_datagram(now, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.step();
        self.machine.handle_timeout(now);
        self.last_timeout = Some(now);
    }

    fn handle_tcp(&mut self, now: Instant, event: TcpEvent) {
        self.step();
        self.machine.handle_tcp(now, event);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let transmit = self.machine.poll_transmit(now, out);
        assert!(!out.is_open(), "poll_transmit leaves a segment open");
        let transmit = transmit?;
        self.output();
        let bytes = out.bytes(transmit.range.clone());
        let largest = transmit.segment_size.unwrap_or(bytes.len());
        assert!(!bytes.is_empty() || self.machine.is_relay(), "an empty datagram");
        assert!(
            largest <= out.max_segment(),
            "a datagram of {largest} bytes exceeds the path's largest, {}",
            out.max_segment()
        );
        for byte in bytes {
            self.transcript = (self.transcript ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Some(transmit)
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        let before = self.machine.poll_timeout();
        let event = self.machine.poll_event();
        assert_eq!(before, self.machine.poll_timeout(), "law 3: poll_event moved a timer");
        if event.is_some() {
            self.output();
        }
        event
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.pure_timeout()
    }

    fn close(&mut self, now: Instant) {
        self.step();
        self.machine.close(now);
    }

    fn is_terminated(&self) -> bool {
        self.machine.is_terminated()
    }

    fn is_relay(&self) -> bool {
        self.machine.is_relay()
    }

    fn serve_io(&mut self, now: Instant, network: &mut Network, host: HostId) {
        self.machine.serve_io(now, network, host);
    }
}

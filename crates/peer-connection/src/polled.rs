//! A machine inside the connection, and what its last poll has said of the time to come.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use antiphon_data_channel::DataChannels;
use antiphon_dtls::Connection;
use antiphon_ice::Agent;
use antiphon_media::Session;

/// A machine that is asked for datagrams.
pub(crate) trait Machine {
    /// When it wants to be told that time has passed.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Whether it may have something to send, if it can tell without being polled.
    #[inline]
    fn may_transmit(&self, _now: Instant) -> bool {
        true
    }
}

macro_rules! machines {
    ($($machine:ty),*) => {$(
        impl Machine for $machine {
            fn poll_timeout(&self) -> Option<Instant> {
                <$machine>::poll_timeout(self)
            }
        }
    )*};
}

machines!(Agent, Connection, DataChannels);

impl Machine for Session {
    #[inline]
    fn poll_timeout(&self) -> Option<Instant> {
        Session::poll_timeout(self)
    }

    #[inline]
    fn may_transmit(&self, now: Instant) -> bool {
        Session::may_transmit(self, now)
    }
}

/// A machine that need not be asked again as long as nothing has happened to it. After it had nothing to send it has
/// nothing before its own deadline, and that stays where it is, unless somebody changes it: whatever may do so goes
/// through [`DerefMut`], which forgets both. With each packet every machine of a connection is asked; most have not
/// changed since they were asked last.
///
/// The answer stands in front of the machine, and machines have in front what each packet looks at: with hundreds of
/// connections every line of the processor's cache comes from memory.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Polled<M> {
    /// When it may have something to send, if nothing happens to it; `None`: it must be asked.
    idle: Option<Idle>,
    machine: M,
}

/// Nothing is to be sent before this moment, if there is one.
#[derive(Clone, Copy, Debug)]
struct Idle(Option<Instant>);

impl<M: Machine> Polled<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self { idle: None, machine }
    }

    /// Whether it has nothing to send now, as far as its last poll can tell.
    #[inline]
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.idle
            .is_some_and(|Idle(until)| until.is_none_or(|until| now < until))
    }

    /// Asks for a datagram, by `poll`, unless there can be none. The buffer has room for one: `None` means that there is
    /// nothing to send.
    #[inline]
    pub(crate) fn poll<T>(&mut self, now: Instant, poll: impl FnOnce(&mut M) -> Option<T>) -> Option<T> {
        if self.is_idle(now) {
            return None;
        }
        let polled = poll(&mut self.machine);
        let more = polled.is_some() && self.machine.may_transmit(now);
        self.idle = (!more).then(|| Idle(self.machine.poll_timeout()));
        polled
    }

    /// When it wants to be told that time has passed.
    #[inline]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.idle {
            Some(Idle(until)) => until,
            None => self.machine.poll_timeout(),
        }
    }

    /// The machine, for what changes neither what it has to send nor its deadline: counting, and handing over events.
    #[inline]
    pub(crate) fn aside(&mut self) -> &mut M {
        &mut self.machine
    }
}

impl<M> Deref for Polled<M> {
    type Target = M;

    #[inline]
    fn deref(&self) -> &M {
        &self.machine
    }
}

impl<M> DerefMut for Polled<M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut M {
        self.idle = None;
        &mut self.machine
    }
}

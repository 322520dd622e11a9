//! Sockets: UDP in batches, and TCP with TLS over it. The peers' driver and the TURN server both stand on this room.
//!
//! **In.** [`Socket::receive`](socket::Socket::receive) takes what one system call gives (`recvmmsg`, each message a GRO batch), asks
//! the caller about each datagram where the kernel has put it, and copies what is wanted into a [`Scratch`](scratch::Scratch). From
//! there [`Scratch::next_batch`](scratch::Scratch::next_batch) gives the batches: datagrams of one source, by value, to be decrypted
//! in place. Call it until [`Received::more`](socket::Received) is false, within a bound of your own.
//!
//! **Out.** Write datagrams into one buffer, of as many peers as come together. Each [`Run`](run::Run) names a stretch of it: equal
//! datagrams that go to one address. [`Socket::send`](socket::Socket::send) takes any number of runs to any number of addresses and
//! sends them in as few system calls as the system allows: a run is one GSO message, and on Linux many messages go in one
//! `sendmmsg`. [`QueuedSocket`](queue::QueuedSocket) keeps what a full kernel buffer did not take.
//!
//! ```text
//! loop {
//!     // Wait: socket.poll_ready(cx)
//!     let received = socket.receive(&mut scratch, |from, datagram| wanted(from, datagram))?;
//!     while let Some(batch) = scratch.next_batch() {
//!         for data in batch.datagrams() { machine.handle_datagram(now, Datagram { path, ecn: batch.ecn, data }) }
//!     }
//!     while let Some(transmit) = machine.poll_transmit(now, &mut out) { runs.push(Run::of(&transmit)) }
//!     socket.send(&runs, out.written());
//! }
//! ```

pub(crate) mod queue;
pub(crate) mod ready;
pub(crate) mod run;
pub(crate) mod scratch;
#[cfg(target_os = "linux")]
mod sendmmsg;
pub(crate) mod socket;
pub(crate) mod tcp;

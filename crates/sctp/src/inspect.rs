//! One direction of an association seen from outside: for captures and tools. Nothing is answered, nothing is limited
//! by a window, and both DATA and I-DATA are put together.

use antiphon_sansio::Serial32;
use bytes::Bytes;
use thiserror::Error;

use crate::chunk::{Chunk, Fragment, ReConfig, Reset};
use crate::error::ParseError;
use crate::event::Message;
use crate::packet::Packet;
use crate::rx::{Arrival, DataTracker, Reassembly};
use crate::tsn::Tsn;

/// The largest message that is put together, in bytes.
pub const MAX_MESSAGE: usize = 1 << 26;
/// Resets that wait for their last TSN: what is above is ignored.
pub const MAX_PENDING: usize = 4096;

/// Why a packet was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The CRC32c does not fit.
    #[error("the checksum is wrong")]
    Checksum,
    /// The header or a chunk is malformed. What stood before it has been taken.
    #[error("malformed: {0}")]
    Malformed(#[from] ParseError),
    /// DATA of a sender whose INIT or INIT ACK was not seen.
    #[error("no INIT or INIT ACK was seen")]
    NoInit,
    /// What signalling gave is not one INIT chunk.
    #[error("not an INIT chunk")]
    NotInit,
    /// DATA far ahead of everything, or a message above [`MAX_MESSAGE`].
    #[error("data beyond every bound")]
    Bounds,
}

/// What came of one packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// The types of its chunks, see [`chunk::kind`](crate::chunk::kind).
    pub chunks: Vec<u8>,
    /// The messages that it completed.
    pub messages: Vec<Message>,
}

/// What one end sends.
#[derive(Debug)]
pub struct Direction {
    tracker: Option<DataTracker>,
    reassembly: Reassembly,
    /// Streams to be reset once everything up to a TSN has arrived.
    resets: Vec<(Serial32, Vec<u16>)>,
    had_data: bool,
    duplicates: u64,
}

impl Default for Direction {
    fn default() -> Self {
        Self {
            tracker: None,
            reassembly: Reassembly::new(MAX_MESSAGE, None),
            resets: Vec::new(),
            had_data: false,
            duplicates: 0,
        }
    }
}

impl Direction {
    /// Takes one packet of this direction.
    ///
    /// # Errors
    /// Says what was not understood; what stood before it in the packet has been taken.
    pub fn handle_packet(&mut self, bytes: &Bytes) -> Result<Inspected, InspectError> {
        let packet = Packet::parse(bytes)?;
        // RFC 9653: over DTLS a packet may do without.
        if !packet.checksum_is_zero() && !packet.checksum_is_correct() {
            return Err(InspectError::Checksum);
        }
        let mut inspected = Inspected::default();
        let mut rest = &bytes[crate::packet::HEADER_LEN..];
        while let [kind, ..] = rest {
            let (chunk, used) = Chunk::parse(rest)?;
            inspected.chunks.push(*kind);
            self.handle_chunk(&chunk, bytes, &mut inspected.messages)?;
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(inspected)
    }

    /// Takes the INIT of this direction's sender from signalling, where none will be seen in a packet (SNAP): the bytes
    /// of
    /// `a=sctp-init`, which has them in base64. Before the first packet; later it changes nothing.
    ///
    /// # Errors
    /// [`InspectError::NotInit`], and [`InspectError::Malformed`] if it is cut short.
    pub fn handle_init(&mut self, chunk: &[u8]) -> Result<(), InspectError> {
        match Chunk::parse(chunk)? {
            (Chunk::Init(init), used) if used >= chunk.len() => {
                if !self.had_data {
                    self.tracker = Some(DataTracker::new(init.initial_tsn));
                }
                Ok(())
            }
            _ => Err(InspectError::NotInit),
        }
    }

    /// Messages that have begun and are not complete.
    pub fn incomplete(&self) -> usize {
        self.reassembly.incomplete()
    }

    /// DATA and I-DATA chunks that came again.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    fn handle_chunk(&mut self, chunk: &Chunk<'_>, packet: &Bytes, out: &mut Vec<Message>) -> Result<(), InspectError> {
        match chunk {
            Chunk::Init(init) | Chunk::InitAck(init) if !self.had_data => {
                self.tracker = Some(DataTracker::new(init.initial_tsn));
            }
            Chunk::Data(data) => self.handle_data(Fragment::of_data(data, packet), out)?,
            Chunk::InterleavedData(data) => self.handle_data(Fragment::of_interleaved(data, packet), out)?,
            Chunk::InterleavedForwardTsn(forward) => {
                let tracker = self.tracker.as_mut().ok_or(InspectError::NoInit)?;
                let tsn = tracker.extend(forward.new_cumulative_tsn);
                tracker.forward(tsn);
                self.reassembly.forward_interleaved(forward.skipped());
                self.deliver(out);
            }
            Chunk::ForwardTsn(forward) => {
                let tracker = self.tracker.as_mut().ok_or(InspectError::NoInit)?;
                let tsn = tracker.extend(forward.new_cumulative_tsn);
                tracker.forward(tsn);
                self.reassembly.forward(tsn, forward.skipped());
                self.deliver(out);
            }
            Chunk::ReConfig(re_config) => self.note_resets(re_config),
            _ => {}
        }
        self.perform_resets();
        Ok(())
    }

    /// Whether a TSN is new; remembers it.
    fn is_new(&mut self, tsn: Serial32) -> Result<Option<Tsn>, InspectError> {
        self.had_data = true;
        let tracker = self.tracker.as_mut().ok_or(InspectError::NoInit)?;
        let tsn = tracker.extend(tsn);
        match tracker.classify(tsn) {
            Arrival::Duplicate => {
                self.duplicates += 1;
                Ok(None)
            }
            Arrival::OutOfWindow => Err(InspectError::Bounds),
            Arrival::InOrder | Arrival::AboveHole => {
                tracker.record(tsn);
                Ok(Some(tsn))
            }
        }
    }

    fn handle_data(&mut self, mut fragment: Fragment<'_>, out: &mut Vec<Message>) -> Result<(), InspectError> {
        if let Some(tsn) = self.is_new(fragment.wire_tsn)? {
            fragment.tsn = tsn;
            self.reassembly.insert(&fragment).map_err(|_| InspectError::Bounds)?;
            self.deliver(out);
        }
        Ok(())
    }

    fn deliver(&mut self, out: &mut Vec<Message>) {
        while let Some(stream) = self.reassembly.poll_readable() {
            self.reassembly.announced(stream);
            while let Some(message) = self.reassembly.take(stream) {
                self.reassembly.release(message.data.len());
                out.push(message);
            }
        }
    }

    /// RFC 6525 §5.2.2: a stream starts anew when everything that was sent on it has arrived.
    fn note_resets(&mut self, re_config: &ReConfig<'_>) {
        for reset in re_config.resets() {
            if let Ok(Reset::Outgoing { last_tsn, streams, .. }) = reset
                && self.resets.len() < MAX_PENDING
            {
                self.resets.push((last_tsn, streams.iter().collect()));
            }
        }
    }

    fn perform_resets(&mut self) {
        let Some(tracker) = &self.tracker else { return };
        let reassembly = &mut self.reassembly;
        self.resets.retain(|(last, streams)| {
            let due = tracker.extend(*last) <= tracker.cumulative();
            if due && streams.is_empty() {
                reassembly.reset_all();
            } else if due {
                streams.iter().for_each(|stream| reassembly.reset(*stream));
            }
            !due
        });
    }
}

#[cfg(test)]
mod tests {
    use antiphon_sansio::Serial16;
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::{Data, InterleavedData, Put};
    use crate::packet::{seal, write_header};

    fn packet(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut bytes = Vec::new();
        write_header(&mut bytes, 5000, 5000, 1);
        write(&mut bytes);
        seal(&mut bytes);
        bytes.into()
    }

    fn init(direction: &mut Direction) {
        // Tag, window, streams in and out, first TSN 7.
        let chunk = [1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 9, 0, 0, 0, 7];
        direction.handle_packet(&packet(|out| out.put(&chunk))).unwrap();
    }

    fn interleaved(tsn: u32, flags: u8, message_id: u32, ppid_or_fsn: u32, payload: &[u8]) -> Bytes {
        packet(|out| {
            InterleavedData {
                flags,
                tsn: Serial32::new(tsn),
                stream: 3,
                reserved: 0,
                message_id: Serial32::new(message_id),
                ppid_or_fsn,
                payload,
            }
            .write(out);
        })
    }

    #[test]
    fn data_is_put_together_and_repetitions_are_counted() {
        let mut direction = Direction::default();
        let data = |tsn, flags, payload| {
            let (tsn, ssn) = (Serial32::new(tsn), Serial16::new(0));
            packet(|out| {
                Data {
                    flags,
                    tsn,
                    stream: 1,
                    ssn,
                    ppid: 51,
                    payload,
                }
                .write(out)
            })
        };
        let first = data(7, Data::BEGIN, b"he");
        assert_eq!(direction.handle_packet(&first), Err(InspectError::NoInit));
        direction = Direction::default();
        init(&mut direction);
        assert_eq!(direction.handle_packet(&first).unwrap().messages, []);
        assert_eq!(direction.incomplete(), 1);
        direction.handle_packet(&first).unwrap();
        assert_eq!(direction.duplicates(), 1);
        let messages = direction.handle_packet(&data(8, Data::END, b"llo")).unwrap().messages;
        assert_eq!(
            (messages.len(), &messages[0].data[..], messages[0].ppid),
            (1, &b"hello"[..], 51)
        );
        assert_eq!(direction.incomplete(), 0);
    }

    #[test]
    fn interleaved_messages_come_apart_again() {
        let mut direction = Direction::default();
        init(&mut direction);
        let mut messages = Vec::new();
        for bytes in [
            interleaved(7, Data::BEGIN, 0, 51, b"a"),
            interleaved(8, Data::BEGIN, 1, 53, b"x"),
            interleaved(10, Data::END, 0, 2, b"c"),
            interleaved(9, 0, 0, 1, b"b"),
            interleaved(11, Data::END, 1, 1, b"y"),
        ] {
            messages.extend(direction.handle_packet(&bytes).unwrap().messages);
        }
        let read: Vec<_> = messages.iter().map(|m| (m.ppid, &m.data[..])).collect();
        assert_eq!(read, [(51, &b"abc"[..]), (53, &b"xy"[..])]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8)) {
            let mut direction = Direction::default();
            for body in packets {
                let _ = direction.handle_packet(&packet(|out| out.put(&body)));
                let _ = direction.handle_packet(&body.into());
            }
        }
    }
}

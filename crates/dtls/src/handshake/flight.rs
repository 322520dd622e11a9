//! The flight that we sent last: cut into records and datagrams, sent again until the peer has it (RFC 6347 §4.2.4).

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use antiphon_sansio::TransmitBuf;

use crate::error::Error;
use crate::handshake::ranges::Ranges;
use crate::handshake::{self, FragmentHeader, MessageType};
use crate::record::ContentType;
use crate::record::ack::RecordNumber;
use crate::record::epoch::{Epochs, WriteEpoch};

/// Retransmissions are never closer than this, however short the path.
const MIN_RTO: Duration = Duration::from_millis(50);
/// Nor further apart than this: a call is set up by people who wait (RFC 6347 §4.2.4.1 would go on to 60 s).
const MAX_RTO: Duration = Duration::from_secs(3);
/// A fragment that carries less of a message than this is not worth its headers, unless it is the end.
const MIN_FRAGMENT: usize = 32;
/// Records whose acknowledgement is still understood. The longest flight at the smallest MTU has fewer.
const MAX_SENT: usize = 256;
/// Acknowledged parts of one message that are told apart.
const MAX_ACKED_RANGES: usize = 128;

/// One thing of a flight.
struct Item {
    epoch: u16,
    content: Content,
    /// What the peer has acknowledged (DTLS 1.3) and need not be sent again.
    acked: Ranges,
}

impl Item {
    fn len(&self) -> usize {
        match &self.content {
            Content::Handshake { body, .. } => body.len(),
            Content::ChangeCipherSpec => 0,
        }
    }
}

impl Item {
    /// Appends a part of the message as a record.
    fn write_fragment(&self, part: Range<usize>, epoch: &mut WriteEpoch, out: &mut TransmitBuf) -> Result<(), Error> {
        let Content::Handshake {
            msg_type,
            message_seq,
            body,
        } = &self.content
        else {
            return Ok(());
        };
        let header = FragmentHeader {
            msg_type: *msg_type,
            length: body.len() as u32,
            message_seq: *message_seq,
            offset: part.start as u32,
            fragment_length: part.len() as u32,
        };
        let start = out.body().len();
        out.put_zeros(epoch.front());
        out.put_slice(&header.bytes());
        out.put_slice(&body[part]);
        epoch.seal(ContentType::Handshake, out, start, 0)
    }
}

/// Which part of which item a record carried.
struct Sent {
    record: RecordNumber,
    item: usize,
    start: usize,
    end: usize,
}

enum Content {
    Handshake {
        msg_type: MessageType,
        message_seq: u16,
        body: Vec<u8>,
    },
    ChangeCipherSpec,
}

/// The flight that we sent last, or are sending: kept whole until the peer's next flight proves that it arrived, cut anew
/// into records and datagrams each time that it is sent (RFC 6347 §4.2.4).
pub(crate) struct Flight {
    items: Vec<Item>,
    sent: VecDeque<Sent>,
    /// The item and the offset in it that are sent next.
    cursor: (usize, usize),
    /// Whether the peer answers this flight: then it is sent again until it does. The last flight of a handshake is sent
    /// again only when the peer repeats its own.
    expects_answer: bool,
    deadline: Option<Instant>,
    /// When the flight was last sent to its end.
    sent_at: Option<Instant>,
    base_rto: Duration,
    rto: Duration,
    retransmissions: u64,
    /// While the peer is asked whether it is still there: how often, without back-off.
    probing: Option<Duration>,
}

impl Flight {
    pub(crate) fn new(initial_rto: Duration) -> Self {
        let rto = initial_rto.clamp(MIN_RTO, MAX_RTO);
        Self {
            items: Vec::new(),
            sent: VecDeque::new(),
            cursor: (0, 0),
            expects_answer: false,
            deadline: None,
            sent_at: None,
            base_rto: rto,
            rto,
            retransmissions: 0,
            probing: None,
        }
    }

    /// Takes the path's round-trip time. Twice that leaves the peer time to sign and verify.
    pub(crate) fn set_rtt(&mut self, rtt: Duration) {
        self.base_rto = rtt.saturating_mul(2).clamp(MIN_RTO, MAX_RTO);
        self.rto = self.rto.max(self.base_rto);
        if self.retransmissions == 0 {
            self.rto = self.base_rto;
        }
    }

    /// Begins a new flight; the last one has arrived.
    pub(crate) fn begin(&mut self, expects_answer: bool) {
        self.items.clear();
        self.sent.clear();
        self.cursor = (0, 0);
        self.expects_answer = expects_answer;
        self.deadline = None;
        self.sent_at = None;
        self.rto = self.base_rto;
        self.retransmissions = 0;
        self.probing = None;
    }

    /// Drops the flight: nothing is sent again. Its memory goes with it.
    pub(crate) fn clear(&mut self) {
        self.begin(false);
        self.items = Vec::new();
        self.sent = VecDeque::new();
    }

    pub(crate) fn push_message(&mut self, epoch: u16, msg_type: MessageType, message_seq: u16, body: Vec<u8>) {
        self.items.push(Item {
            epoch,
            content: Content::Handshake {
                msg_type,
                message_seq,
                body,
            },
            acked: Ranges::default(),
        });
    }

    pub(crate) fn push_change_cipher_spec(&mut self) {
        self.items.push(Item {
            epoch: 0,
            content: Content::ChangeCipherSpec,
            acked: Ranges::default(),
        });
    }

    /// Whether something waits to be written.
    pub(crate) fn is_pending(&self) -> bool {
        self.cursor.0 < self.items.len()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Starts a retransmission if it is due; says whether it did.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return false;
        }
        self.rto = self.probing.unwrap_or((self.rto * 2).min(MAX_RTO));
        self.rewind();
        true
    }

    /// Sends the flight again and again at this interval, to see whether anybody answers.
    pub(crate) fn probe(&mut self, now: Instant, every: Duration) {
        self.probing = Some(every);
        self.rto = every;
        self.deadline = self.deadline.map(|deadline| deadline.min(now + every));
    }

    /// Somebody did: back to the usual timer.
    pub(crate) fn stop_probing(&mut self) {
        if self.probing.take().is_some() {
            self.rto = self.base_rto;
        }
    }

    /// The peer has sent its last flight again, so it may lack this one; says whether it is sent again now. At most once
    /// in a part of the timeout, so that a peer, or duplicates on the way, cannot make us send much for little.
    pub(crate) fn peer_repeats(&mut self, now: Instant) -> bool {
        let recent = self.sent_at.is_none_or(|sent| now < sent + self.base_rto / 4);
        if self.items.is_empty() || self.is_pending() || recent {
            return false;
        }
        self.rewind();
        true
    }

    /// Whether nothing of the flight waits for an answer or acknowledgement.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether the flight is sent again until the peer answers it.
    pub(crate) fn expects_answer(&self) -> bool {
        self.expects_answer
    }

    /// How often the flight has been sent again.
    pub(crate) fn retransmissions(&self) -> u64 {
        self.retransmissions
    }

    /// The base of the timers.
    pub(crate) fn base_rto(&self) -> Duration {
        self.base_rto
    }

    /// Takes the peer's acknowledgements (RFC 9147 §7.2). Says whether all of the flight has arrived; if only some has,
    /// the rest is sent again at once.
    pub(crate) fn acknowledge(&mut self, now: Instant, records: &[RecordNumber]) -> bool {
        let mut new = false;
        for record in records {
            let Some(index) = self.sent.iter().position(|sent| sent.record == *record) else {
                continue;
            };
            let Some(Sent { item, start, end, .. }) = self.sent.remove(index) else {
                continue;
            };
            if let Some(item) = self.items.get_mut(item) {
                new |= item.acked.add(start, end, MAX_ACKED_RANGES);
            }
        }
        if self.items.is_empty() || !new {
            return false;
        }
        let done = self.items.iter().all(|item| item.acked.cover(item.len()));
        if !done {
            self.peer_repeats(now);
        }
        done
    }

    fn rewind(&mut self) {
        self.cursor = (0, 0);
        self.deadline = None;
        self.retransmissions += 1;
    }

    /// Appends records to the open segment until its body has `room` bytes or the flight ends. Says whether it wrote any.
    pub(crate) fn write(
        &mut self,
        now: Instant,
        epochs: &mut Epochs,
        out: &mut TransmitBuf,
        room: usize,
    ) -> Result<bool, Error> {
        let mut wrote = false;
        let was_pending = self.is_pending();
        while let Some(item) = self.items.get(self.cursor.0) {
            let epoch = epochs.write(item.epoch).ok_or(Error::Crypto)?;
            let start = out.body().len();
            let overhead = epoch.front() + epoch.back();
            let left = room.saturating_sub(start + overhead);
            match &item.content {
                Content::ChangeCipherSpec => {
                    if left < 1 {
                        return Ok(wrote);
                    }
                    out.put_zeros(epoch.front());
                    out.put_slice(&[1]);
                    epoch.seal(ContentType::ChangeCipherSpec, out, start, 0)?;
                    self.cursor = (self.cursor.0 + 1, 0);
                }
                Content::Handshake { body, .. } => {
                    let gap = if body.is_empty() {
                        Some((0, 0))
                    } else {
                        item.acked.gap(self.cursor.1, body.len())
                    };
                    let Some((from, to)) = gap else {
                        self.cursor = (self.cursor.0 + 1, 0);
                        continue;
                    };
                    if left < handshake::HEADER_LEN + (to - from).min(MIN_FRAGMENT) {
                        return Ok(wrote);
                    }
                    let to = to.min(from + left - handshake::HEADER_LEN);
                    if self.sent.len() == MAX_SENT {
                        self.sent.pop_front();
                    }
                    self.sent.push_back(Sent {
                        record: RecordNumber {
                            epoch: item.epoch.into(),
                            sequence: epoch.next_sequence(),
                        },
                        item: self.cursor.0,
                        start: from,
                        end: to,
                    });
                    self.cursor = if to == body.len() {
                        (self.cursor.0 + 1, 0)
                    } else {
                        (self.cursor.0, to)
                    };
                    item.write_fragment(from..to, epoch, out)?;
                }
            }
            wrote = true;
        }
        if was_pending {
            self.sent_at = Some(now);
            self.deadline = self.expects_answer.then(|| now + self.rto);
        }
        Ok(wrote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(flight: &mut Flight, now: Instant, mtu: usize) -> Vec<usize> {
        let mut epochs = Epochs::default();
        let mut out = TransmitBuf::new(1 << 16, 2000);
        let mut sizes = Vec::new();
        loop {
            assert!(out.begin(0, 0));
            if !flight.write(now, &mut epochs, &mut out, mtu).unwrap() {
                return sizes;
            }
            sizes.push(out.finish().len());
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_flight_is_cut_to_any_mtu_and_sent_again_with_back_off() {
        let mut now = antiphon_netsim::start();
        let mut flight = Flight::new(Duration::from_millis(100));
        flight.begin(true);
        flight.push_message(0, MessageType::CERTIFICATE, 0, vec![1; 1000]);
        flight.push_message(0, MessageType::SERVER_HELLO_DONE, 1, vec![]);
        assert_eq!(sizes(&mut flight, now, 256), [256, 256, 256, 256, 76 + 25 + 25]);
        assert_eq!(flight.poll_timeout(), Some(now + Duration::from_millis(100)));
        assert!(!flight.handle_timeout(now));
        for back_off in [200, 400, 800, 1600, 3000, 3000] {
            now = flight.poll_timeout().unwrap();
            assert!(flight.handle_timeout(now));
            assert_eq!(flight.poll_timeout(), None, "not before it has been sent");
            assert_eq!(sizes(&mut flight, now, 1200), [1050]);
            assert_eq!(flight.poll_timeout(), Some(now + Duration::from_millis(back_off)));
        }
        assert!(!flight.peer_repeats(now), "just sent");
        assert!(flight.peer_repeats(now + Duration::from_millis(25)));
        assert!(!flight.peer_repeats(now + Duration::from_millis(50)), "not sent yet");
        assert_eq!(sizes(&mut flight, now, 10), [0; 0], "no room, no progress, no loop");
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn what_was_acknowledged_is_not_sent_again() {
        let now = antiphon_netsim::start();
        let mut flight = Flight::new(Duration::from_millis(100));
        flight.begin(true);
        flight.push_message(0, MessageType::CERTIFICATE, 0, vec![1; 1000]);
        flight.push_message(0, MessageType::FINISHED, 1, vec![2; 32]);
        assert_eq!(sizes(&mut flight, now, 256).len(), 5);
        let record = |sequence| RecordNumber { epoch: 0, sequence };
        assert!(!flight.acknowledge(
            now,
            &[record(0), record(2), record(77), RecordNumber { epoch: 1, sequence: 1 }]
        ));
        let now = now + Duration::from_millis(60);
        assert!(!flight.acknowledge(now, &[record(0)]), "known already");
        assert_eq!(sizes(&mut flight, now, 256), [0; 0]);
        assert!(!flight.acknowledge(now, &[record(3)]));
        // Bytes 231..462 and the end of the first message, and the second.
        assert_eq!(sizes(&mut flight, now, 1200), [231 + 25 + 76 + 25 + 32 + 25]);
        let all: Vec<_> = (0..9).map(record).collect();
        assert!(flight.acknowledge(now, &all));
    }
}

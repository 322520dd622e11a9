//! The layer that both versions and both roles share: reassembly and flights, acknowledgements, early records, and who the
//! peer is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antiphon_sansio::{Packet, Rng, TransmitBuf};
use bytes::{Bytes, BytesMut};

use crate::AMPLIFICATION_LIMIT;
use crate::alert::Alert;
use crate::certificate::{Fingerprint, PeerKey};
use crate::config::{AddressValidation, Config, MIN_MTU, ProtocolVersion, Role};
use crate::error::Error;
use crate::handshake::flight::Flight;
use crate::handshake::reassembly::{Push, Reassembly};
use crate::handshake::transcript::Transcript;
use crate::handshake::{DecodeError, FragmentHeader, MessageType};
use crate::record::ack::{self, MAX_ACKED, RecordNumber};
use crate::record::epoch::{Epochs, OpenError};
use crate::record::{self, ContentType, Front, Header};
use crate::stats::Stats;

/// Records that came before the keys of their epoch, and the bytes of all of them.
const MAX_EARLY_RECORDS: usize = 16;
const MAX_EARLY_BYTES: usize = 32 * 1024;
/// How long the last flight, and the keys of the handshake, are kept for a peer that did not hear of its end: twice the
/// maximum segment lifetime (RFC 6347 §4.2.4, RFC 9147 §5.8.1).
const RETENTION: Duration = Duration::from_secs(240);
/// Alerts that wait to be sent.
const MAX_ALERTS: usize = 4;

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot be decoded, or has no place here. If it came unprotected then anybody may have sent it: it is dropped,
    /// and the peer's own may still come.
    Malformed,
    /// The handshake cannot go on.
    Fatal(Error),
}

impl From<DecodeError> for Fault {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// The acknowledgements that we owe (RFC 9147 §7.1). Only DTLS 1.3 has any.
#[derive(Default)]
struct Acks {
    enabled: bool,
    records: VecDeque<RecordNumber>,
    due: bool,
    deadline: Option<Instant>,
}

/// A record that came before the keys of its epoch.
pub(crate) struct Early {
    pub(crate) header: Header,
    /// Header and fragment.
    pub(crate) record: Packet,
}

/// The layer that both versions and both roles share: records and epochs, reassembly, flights, the transcript, and who
/// the peer is.
pub(crate) struct Layer {
    pub(crate) config: Config,
    pub(crate) role: Role,
    pub(crate) rng: Rng,
    pub(crate) stats: Stats,
    pub(crate) reassembly: Reassembly,
    pub(crate) flight: Flight,
    pub(crate) transcript: Transcript,
    pub(crate) epochs: Epochs,
    next_message_seq: u16,
    early: VecDeque<Early>,
    early_bytes: usize,
    /// Whether records of epochs to come are kept: until the handshake is complete.
    keep_early: bool,
    alerts: VecDeque<Alert>,
    acks: Acks,
    /// Something of the handshake has come that says that the peer goes on.
    pub(crate) peer_is_alive: bool,
    /// Whether a cookie has shown that the client's address is its own, or nobody needs to show it.
    pub(crate) address_validated: bool,
    fingerprints: Option<Vec<Fingerprint>>,
    peer_certificate: Option<Bytes>,
    /// Which of the fingerprints the peer's certificate has.
    identity: Option<Fingerprint>,
    /// Until when a peer that has not heard of the end of the handshake is told again.
    retained_until: Option<Instant>,
}

impl Layer {
    pub(crate) fn new(config: Config, role: Role, rng: Rng) -> Self {
        let address_validated = role == Role::Client || config.address_validation == AddressValidation::ByIce;
        Self {
            flight: Flight::new(config.initial_rto),
            config,
            role,
            rng,
            stats: Stats::default(),
            reassembly: Reassembly::default(),
            transcript: Transcript::default(),
            epochs: Epochs::default(),
            next_message_seq: 0,
            early: VecDeque::new(),
            early_bytes: 0,
            keep_early: true,
            alerts: VecDeque::new(),
            acks: Acks::default(),
            peer_is_alive: false,
            address_validated,
            fingerprints: None,
            peer_certificate: None,
            identity: None,
            retained_until: None,
        }
    }

    // Sending.

    /// Puts a message into the flight, and into the transcript.
    pub(crate) fn send(&mut self, msg_type: MessageType, body: Vec<u8>) {
        self.transcript.add(msg_type, self.next_message_seq, &body);
        self.send_unrecorded(msg_type, body);
    }

    /// Puts a message into the flight alone.
    pub(crate) fn send_unrecorded(&mut self, msg_type: MessageType, body: Vec<u8>) {
        self.flight
            .push_message(self.epochs.sending(), msg_type, self.next_message_seq, body);
        self.next_message_seq = self.next_message_seq.wrapping_add(1);
    }

    /// Sends an alert in the newest epoch.
    pub(crate) fn alert(&mut self, alert: Alert) {
        if self.alerts.len() < MAX_ALERTS {
            self.alerts.push_back(alert);
        }
    }

    /// Writes a datagram into a segment that it leaves open. Says whether there was anything to write.
    pub(crate) fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Result<bool, Error> {
        if !self.flight.is_pending() && self.alerts.is_empty() && !self.owes_ack() {
            return Ok(false);
        }
        if !out.begin(0, 0) {
            return Ok(false);
        }
        let mut room = self.config.mtu.max(MIN_MTU).min(out.remaining());
        if !self.address_is_validated() {
            let allowed = AMPLIFICATION_LIMIT as u64 * self.stats.bytes_received;
            let left = usize::try_from(allowed.saturating_sub(self.stats.bytes_sent)).unwrap_or(usize::MAX);
            room = room.min(left);
        }
        let written = self.write_datagram(now, out, room);
        if !matches!(written, Ok(true)) {
            out.rollback();
            return written;
        }
        self.stats.datagrams_sent += 1;
        self.stats.bytes_sent += out.body().len() as u64;
        written
    }

    fn write_datagram(&mut self, now: Instant, out: &mut TransmitBuf, room: usize) -> Result<bool, Error> {
        let mut wrote = self.flight.write(now, &mut self.epochs, out, room)?;
        if self.owes_ack() && self.write_ack(out, room)? {
            wrote = true;
        }
        // Alerts come after the flight, whose records they would otherwise overtake.
        while !self.flight.is_pending() {
            let Some(alert) = self.alerts.front().copied() else {
                break;
            };
            if !self.write_record(ContentType::Alert, &alert.bytes(), out, room)? {
                break;
            }
            self.alerts.pop_front();
            wrote = true;
        }
        Ok(wrote)
    }

    /// Appends one small record in the newest epoch, if there is room.
    fn write_record(
        &mut self,
        content_type: ContentType,
        body: &[u8],
        out: &mut TransmitBuf,
        room: usize,
    ) -> Result<bool, Error> {
        let epoch = self.epochs.write(self.epochs.sending()).ok_or(Error::Crypto)?;
        let start = out.body().len();
        if start + epoch.front() + body.len() + epoch.back() > room {
            return Ok(false);
        }
        out.put_zeros(epoch.front());
        out.put_slice(body);
        epoch.seal(content_type, out, start, 0)?;
        Ok(true)
    }

    /// Whether an acknowledgement is to be sent now. Never unprotected: nobody would believe it.
    fn owes_ack(&self) -> bool {
        self.acks.enabled && self.acks.due && self.epochs.sending() > 0 && !self.acks.records.is_empty()
    }

    fn write_ack(&mut self, out: &mut TransmitBuf, room: usize) -> Result<bool, Error> {
        const OVERHEAD: usize = 64;
        let fit = room.saturating_sub(out.body().len() + OVERHEAD) / ack::NUMBER_LEN;
        let records = self.acks.records.make_contiguous();
        records.sort_unstable();
        let body = ack::write(&records[..records.len().min(fit)]);
        let wrote = fit > 0 && self.write_record(ContentType::Ack, &body, out, room)?;
        if wrote {
            self.clear_acks();
        }
        Ok(wrote)
    }

    // Receiving.

    /// Whether the client's address is known to be its own. Only who got our flight can have keys.
    pub(crate) fn address_is_validated(&self) -> bool {
        self.address_validated || self.epochs.peer_has_keys()
    }

    /// A record was not opened: keeps it for when there are keys, or counts why it is dropped.
    #[cold]
    pub(crate) fn not_opened(&mut self, error: OpenError, record: &Packet) {
        match error {
            OpenError::NoKeys => self.keep_early(record),
            OpenError::Replayed => self.stats.dropped_replayed += 1,
            OpenError::Forged | OpenError::Exhausted => self.stats.dropped_forged += 1,
            OpenError::Malformed => self.stats.dropped_malformed += 1,
        }
    }

    /// Reads the header again: to hand it over would mean to have it in memory, also where nothing is kept.
    fn keep_early(&mut self, record: &Packet) {
        let bytes = &record.data[..];
        let Front::Record(header, _) = record::front(bytes) else {
            return;
        };
        let newest = self.epochs.newest_read();
        let to_come = match &header {
            Header::Plain(header) => header.epoch > newest && header.epoch == 1,
            Header::Unified(_) => true,
        };
        if !self.keep_early || !to_come {
            self.stats.dropped_epoch += 1;
        } else if self.early.len() == MAX_EARLY_RECORDS || self.early_bytes + bytes.len() > MAX_EARLY_BYTES {
            self.stats.dropped_overflow += 1;
        } else {
            self.early_bytes += bytes.len();
            // A copy: the record must not pin the batch that it came in.
            let (ecn, data) = (record.ecn, BytesMut::from(bytes));
            self.early.push_back(Early {
                header,
                record: Packet { ecn, data },
            });
        }
    }

    /// A record that was kept and can be opened now.
    pub(crate) fn take_early(&mut self) -> Option<Early> {
        let ready = |early: &Early| self.epochs.fit(&early.header);
        let index = self.early.iter().position(ready)?;
        let early = self.early.remove(index)?;
        self.early_bytes -= early.record.data.len();
        Some(early)
    }

    /// Takes one fragment of a handshake message. Says whether its record may be acknowledged: whether every byte is here.
    pub(crate) fn take_fragment(&mut self, now: Instant, epoch: u16, header: &FragmentHeader, fragment: &[u8]) -> bool {
        // Once there are keys, what comes without may be a repetition and nothing else: anybody can send it, and it must not
        // get in the way of the peer's own.
        let pushed = if epoch == 0 && self.epochs.newest_read() > 0 {
            self.reassembly.known(header).unwrap_or(Push::Refused)
        } else {
            self.reassembly.push(epoch, header, fragment)
        };
        self.peer_is_alive |= pushed != Push::Refused;
        match pushed {
            Push::Kept => true,
            Push::Old => {
                // The peer does not know that we have it.
                self.acks.due |= epoch > 0;
                epoch > 0
            }
            Push::LastAgain => {
                if self.flight.peer_repeats(now) {
                    self.stats.retransmissions += 1;
                }
                self.acks.due |= epoch > 0;
                epoch > 0
            }
            Push::Refused => {
                self.stats.dropped_overflow += 1;
                false
            }
        }
    }

    // Acknowledgements.

    /// The version is 1.3: acknowledgements may be sent.
    pub(crate) fn enable_acks(&mut self) {
        self.acks.enabled = true;
    }

    pub(crate) fn acks_are_enabled(&self) -> bool {
        self.acks.enabled
    }

    /// Remembers a record to be acknowledged, should the flight that it is part of stay incomplete (RFC 9147 §7.1).
    pub(crate) fn note_received(&mut self, epoch: u16, sequence: u64) {
        if self.acks.records.len() == MAX_ACKED {
            self.acks.records.pop_front();
        }
        self.acks.records.push_back(RecordNumber {
            epoch: epoch.into(),
            sequence,
        });
    }

    /// What was received is acknowledged after a while, unless a flight of ours does it before. Called when all messages
    /// that a record completed have been handled: the record of the ServerHello comes before we know that there are
    /// acknowledgements.
    pub(crate) fn acknowledge_later(&mut self, now: Instant) {
        let idle = !self.acks.due && self.acks.deadline.is_none();
        if self.acks.enabled && idle && !self.acks.records.is_empty() {
            self.acks.deadline = Some(now + self.flight.base_rto() / 4);
        }
    }

    /// What was received is acknowledged with the next datagram.
    pub(crate) fn acknowledge_now(&mut self) {
        self.acks.due = true;
        self.acks.deadline = None;
    }

    /// Our next flight acknowledges all by itself, or it was just done.
    pub(crate) fn clear_acks(&mut self) {
        self.acks.records.clear();
        self.acks.due = false;
        self.acks.deadline = None;
    }

    // Time.

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.flight.poll_timeout(), self.acks.deadline]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.flight.handle_timeout(now) {
            self.stats.retransmissions += 1;
        }
        if self.acks.deadline.is_some_and(|deadline| deadline <= now) {
            self.acknowledge_now();
        }
        // Nobody is woken for that: any later call will do.
        if self.retained_until.is_some_and(|until| until <= now) {
            self.forget_handshake();
        }
    }

    // Who the peer is.

    pub(crate) fn set_fingerprints(&mut self, fingerprints: Vec<Fingerprint>) {
        self.fingerprints = Some(fingerprints);
        self.identity = None;
    }

    /// Takes the peer's chain of certificates and gives the key that its signatures are checked with.
    pub(crate) fn set_peer_chain(&mut self, chain: &[Bytes]) -> Result<PeerKey, Error> {
        let first = chain.first().ok_or(Error::BadCertificate)?;
        let key = PeerKey::from_certificate(first).ok_or(Error::BadCertificate)?;
        self.peer_certificate = Some(first.clone());
        self.identity = None;
        self.check_identity()?;
        Ok(key)
    }

    /// Whether the peer's certificate has a signalled fingerprint; no while either is not known yet.
    pub(crate) fn check_identity(&mut self) -> Result<bool, Error> {
        let (Some(fingerprints), Some(der)) = (&self.fingerprints, &self.peer_certificate) else {
            return Ok(false);
        };
        if self.identity.is_none() {
            let matching = Fingerprint::find_match(fingerprints, der).ok_or(Error::FingerprintMismatch)?;
            self.identity = Some(matching.clone());
        }
        Ok(true)
    }

    /// The peer's certificate, and its fingerprint by the hash function that signalling used; once it has been checked.
    pub(crate) fn peer(&self) -> Option<(Bytes, Fingerprint)> {
        Some((self.peer_certificate.clone()?, self.identity.clone()?))
    }

    // The end.

    /// The handshake is complete: gives back what only it needed. In DTLS 1.3 messages may follow all the same. Should the
    /// peer send its last flight again, it is answered for some time.
    pub(crate) fn settle(&mut self, now: Instant, version: ProtocolVersion) {
        self.retained_until = Some(now + RETENTION);
        if version == ProtocolVersion::Dtls13 {
            self.epochs.forget_hellos(self.role);
        }
        self.release(version);
    }

    fn release(&mut self, version: ProtocolVersion) {
        self.transcript.release();
        if version == ProtocolVersion::Dtls12 {
            self.reassembly.close();
            self.acks = Acks::default();
        }
        self.keep_early = false;
        self.early = VecDeque::new();
        self.early_bytes = 0;
    }

    /// All of the last flight of DTLS 1.3 has been acknowledged.
    pub(crate) fn flight_arrived(&mut self) {
        self.flight.clear();
        // The server has seen the end of the handshake. Whether the client has, no word of the client's says.
        if self.role == Role::Client {
            self.forget_handshake();
        }
    }

    /// The peer knows that the handshake is complete, or had time enough to learn it: gives up keys and flights that
    /// only it needed.
    fn forget_handshake(&mut self) {
        self.retained_until = None;
        if !self.flight.expects_answer() {
            self.flight.clear();
            self.epochs.forget_handshake();
        }
    }

    /// Nothing more is taken, and nothing sent but the alerts that wait.
    pub(crate) fn end(&mut self) {
        self.release(ProtocolVersion::Dtls12);
        self.retained_until = None;
        self.flight.clear();
        self.clear_acks();
    }
}

#[cfg(test)]
impl Layer {
    /// The alerts that wait to be sent.
    pub(crate) fn pending_alerts(&self) -> Vec<Alert> {
        self.alerts.iter().copied().collect()
    }
}

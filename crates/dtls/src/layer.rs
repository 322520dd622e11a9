use std::collections::VecDeque;
use std::time::Instant;

use antiphon_crypto::NamedGroup;
use antiphon_sansio::{Rng, TransmitBuf};
use bytes::{Bytes, BytesMut};

use crate::AMPLIFICATION_LIMIT;
use crate::alert::Alert;
use crate::certificate::{Fingerprint, PeerKey};
use crate::config::{AddressValidation, CipherSuite, Config, MIN_MTU, ProtocolVersion, Role, SrtpProfile};
use crate::epoch::{OpenError, Protection, ReadEpoch, WriteEpoch};
use crate::error::Error;
use crate::exporter::Exporter;
use crate::flight::Flight;
use crate::handshake::{DecodeError, FragmentHeader, MessageType};
use crate::reassembly::{Push, Reassembly};
use crate::record::{ContentType, Record};
use crate::stats::Stats;
use crate::transcript::Transcript;

/// Records that came before the keys of their epoch, and the bytes of all of them.
const MAX_EARLY_RECORDS: usize = 16;
const MAX_EARLY_BYTES: usize = 32 * 1024;
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

/// What a completed handshake hands over.
pub(crate) struct Agreed {
    pub(crate) version: ProtocolVersion,
    pub(crate) suite: CipherSuite,
    pub(crate) group: NamedGroup,
    pub(crate) srtp: Option<SrtpProfile>,
    pub(crate) exporter: Exporter,
}

/// What an opened record holds.
pub(crate) struct Opened {
    pub(crate) content_type: ContentType,
    pub(crate) epoch: u16,
    pub(crate) body: BytesMut,
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
    read: Vec<ReadEpoch>,
    write: Vec<WriteEpoch>,
    send_epoch: u16,
    next_message_seq: u16,
    early: VecDeque<Record>,
    early_bytes: usize,
    alerts: VecDeque<(u16, Alert)>,
    /// Whether the client's address is known to be its own.
    pub(crate) address_validated: bool,
    fingerprints: Option<Vec<Fingerprint>>,
    peer_certificate: Option<Bytes>,
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
            read: vec![ReadEpoch::new(0, None)],
            write: vec![WriteEpoch::new(0, None)],
            send_epoch: 0,
            next_message_seq: 0,
            early: VecDeque::new(),
            early_bytes: 0,
            alerts: VecDeque::new(),
            address_validated,
            fingerprints: None,
            peer_certificate: None,
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
            .push_message(self.send_epoch, msg_type, self.next_message_seq, body);
        self.next_message_seq = self.next_message_seq.wrapping_add(1);
    }

    /// Takes our own keys of an epoch, to be used when [`Self::switch_send_to`] says so.
    pub(crate) fn prepare_send_in(&mut self, epoch: u16, protection: Protection) {
        self.write.push(WriteEpoch::new(epoch, Some(protection)));
    }

    /// What follows is sent in this epoch.
    pub(crate) fn switch_send_to(&mut self, epoch: u16) {
        self.send_epoch = epoch;
    }

    /// Takes the keys of an epoch of the peer.
    pub(crate) fn receive_in(&mut self, epoch: u16, protection: Protection) {
        self.read.push(ReadEpoch::new(epoch, Some(protection)));
    }

    /// Sends an alert in the newest epoch.
    pub(crate) fn alert(&mut self, alert: Alert) {
        if self.alerts.len() < MAX_ALERTS {
            self.alerts.push_back((self.send_epoch, alert));
        }
    }

    /// Writes a datagram into a segment that it leaves open. Says whether there was anything to write.
    pub(crate) fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Result<bool, Error> {
        if !self.flight.is_pending() && self.alerts.is_empty() {
            return Ok(false);
        }
        if !out.begin(0, 0) {
            return Ok(false);
        }
        let mut room = self.config.mtu.max(MIN_MTU).min(out.remaining());
        if !self.address_validated {
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
        let mut wrote = self.flight.write(now, &mut self.write, out, room)?;
        // Alerts come after the flight, whose records they would otherwise overtake.
        while !self.flight.is_pending() {
            let Some((number, alert)) = self.alerts.front().copied() else {
                break;
            };
            let epoch = self
                .write
                .iter_mut()
                .find(|epoch| epoch.number() == number)
                .ok_or(Error::Crypto)?;
            let start = out.body().len();
            if start + epoch.front() + 2 + epoch.back() > room {
                break;
            }
            self.alerts.pop_front();
            out.put_zeros(epoch.front());
            out.put_slice(&alert.bytes());
            epoch.seal(ContentType::Alert, out, start)?;
            wrote = true;
        }
        Ok(wrote)
    }

    /// Room that [`Self::seal`] needs.
    pub(crate) fn overhead(&self) -> Option<(usize, usize)> {
        let epoch = self
            .write
            .last()
            .filter(|epoch| epoch.number() == self.send_epoch && self.send_epoch > 0)?;
        Some((epoch.front(), epoch.back()))
    }

    /// Makes the body of the open segment one record of application data.
    pub(crate) fn seal(&mut self, out: &mut TransmitBuf) -> Result<(), Error> {
        let epoch = self.write.last_mut().ok_or(Error::NotConnected)?;
        out.prepend(epoch.front());
        epoch.seal(ContentType::ApplicationData, out, 0)?;
        self.stats.bytes_sent += out.body().len() as u64;
        Ok(())
    }

    // Receiving.

    /// Opens a record, or keeps it for when there are keys, or drops it and counts why.
    pub(crate) fn open(&mut self, record: Record) -> Result<Option<Opened>, Error> {
        let (content_type, number) = (record.header.content_type, record.header.epoch);
        let newest = self.read.last().map_or(0, ReadEpoch::number);
        let Some(epoch) = self.read.iter_mut().find(|epoch| epoch.number() == number) else {
            if number > newest {
                self.keep_early(record);
            } else {
                self.stats.dropped_epoch += 1;
            }
            return Ok(None);
        };
        match epoch.open(record) {
            Ok(body) => {
                // Only who got our flight can have these keys.
                self.address_validated |= epoch.is_protected();
                return Ok(Some(Opened {
                    content_type,
                    epoch: number,
                    body,
                }));
            }
            Err(OpenError::Replayed) => self.stats.dropped_replayed += 1,
            Err(OpenError::Forged) => self.stats.dropped_forged += 1,
            Err(OpenError::Malformed) => self.stats.dropped_malformed += 1,
            Err(OpenError::Exhausted) => return Err(Error::Exhausted),
        }
        Ok(None)
    }

    fn keep_early(&mut self, record: Record) {
        if record.header.epoch > 3 {
            self.stats.dropped_epoch += 1;
        } else if self.early.len() == MAX_EARLY_RECORDS || self.early_bytes + record.bytes.len() > MAX_EARLY_BYTES {
            self.stats.dropped_overflow += 1;
        } else {
            self.early_bytes += record.bytes.len();
            // A copy: the record must not pin the batch that it came in.
            let bytes = BytesMut::from(&record.bytes[..]);
            self.early.push_back(Record {
                header: record.header,
                bytes,
            });
        }
    }

    /// A record that was kept and can be opened now.
    pub(crate) fn take_early(&mut self) -> Option<Record> {
        let ready = |record: &Record| self.read.iter().any(|epoch| epoch.number() == record.header.epoch);
        let index = self.early.iter().position(ready)?;
        let record = self.early.remove(index)?;
        self.early_bytes -= record.bytes.len();
        Some(record)
    }

    /// Takes one fragment of a handshake message.
    pub(crate) fn take_fragment(&mut self, now: Instant, epoch: u16, header: &FragmentHeader, fragment: &[u8]) {
        match self.reassembly.push(epoch, header, fragment) {
            Push::Kept | Push::Old => {}
            Push::LastAgain => {
                if self.flight.peer_repeats(now) {
                    self.stats.retransmissions += 1;
                }
            }
            Push::Refused => self.stats.dropped_overflow += 1,
        }
    }

    // Who the peer is.

    pub(crate) fn set_fingerprints(&mut self, fingerprints: Vec<Fingerprint>) {
        self.fingerprints = Some(fingerprints);
    }

    /// Takes the peer's chain of certificates and gives the key that its signatures are checked with.
    pub(crate) fn set_peer_chain(&mut self, chain: &[Vec<u8>]) -> Result<PeerKey, Error> {
        let first = chain.first().ok_or(Error::BadCertificate)?;
        let key = PeerKey::from_certificate(first).ok_or(Error::BadCertificate)?;
        self.peer_certificate = Some(Bytes::copy_from_slice(first));
        self.check_identity()?;
        Ok(key)
    }

    /// Whether the peer's certificate has a signalled fingerprint; no while either is not known yet.
    pub(crate) fn check_identity(&self) -> Result<bool, Error> {
        match (&self.fingerprints, &self.peer_certificate) {
            (Some(fingerprints), Some(der)) if Fingerprint::any_matches(fingerprints, der) => Ok(true),
            (Some(_), Some(_)) => Err(Error::FingerprintMismatch),
            _ => Ok(false),
        }
    }

    /// The peer's certificate, and its fingerprint by the hash function that signalling used.
    pub(crate) fn peer(&self) -> Option<(Bytes, Fingerprint)> {
        let der = self.peer_certificate.clone()?;
        let known = self.fingerprints.iter().flatten().find(|f| f.matches(&der)).cloned();
        let fingerprint = known.unwrap_or_else(|| Fingerprint::of(antiphon_crypto::HashAlgorithm::Sha256, &der));
        Some((der, fingerprint))
    }

    // The end.

    /// The handshake is complete: gives back what only it needed.
    pub(crate) fn settle(&mut self) {
        self.transcript.release();
        self.reassembly.close();
        self.early = VecDeque::new();
        self.early_bytes = 0;
    }
}

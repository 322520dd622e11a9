//! A whole session through the protocol crates: every DTLS record, SRTP and SRTCP packet, SCTP packet and message.

use std::collections::BTreeMap;
use std::fmt;

use antiphon_crypto::{Provider, ring_provider};
use antiphon_data_channel::dcep::{Dcep, ppid};
use antiphon_dtls::inspect::{Content, InspectError as DtlsError, Inspector};
use antiphon_dtls::{Fingerprint, Role, SrtpKeys};
use antiphon_rtp::packet::is_rtcp;
use antiphon_rtp::rtcp;
use antiphon_sansio::{Bytes, BytesMut};
use antiphon_sctp::Message;
use antiphon_sctp::inspect::{Direction, InspectError as SctpError};
use antiphon_srtp::{Profile, Receiver};

use crate::media::{Media, MediaError};
use crate::session::{End, Session};

/// What went wrong with a datagram.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A DTLS record.
    #[error("DTLS: {0}")]
    Dtls(#[from] DtlsError),
    /// SRTP or SRTCP before its keys.
    #[error("SRTP before its keys were agreed on")]
    NoSrtpKeys,
    /// SRTP or SRTCP that is not authentic, or malformed.
    #[error("SRTP: {0}")]
    Srtp(#[from] antiphon_srtp::Error),
    /// Decrypted RTP.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// Decrypted RTCP.
    #[error("RTCP: {0}")]
    Rtcp(antiphon_rtp::ParseError),
    /// An SCTP packet.
    #[error("SCTP: {0}")]
    Sctp(#[from] SctpError),
    /// A message of the data channel establishment protocol.
    #[error("malformed DCEP")]
    Dcep,
}

/// What was counted in a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams between addresses that no ICE check named, such as DNS.
    pub unrelated: usize,
    /// DTLS records in the clear.
    pub records_clear: usize,
    /// DTLS records decrypted.
    pub records_opened: usize,
    /// Whole handshake messages.
    pub handshake_messages: usize,
    /// Alerts of either level.
    pub alerts: usize,
    /// Acknowledgements of DTLS 1.3.
    pub acks: usize,
    /// SRTP packets decrypted.
    pub rtp: usize,
    /// SRTCP packets decrypted.
    pub rtcp: usize,
    /// The RTCP packets in them, by kind.
    pub rtcp_kinds: BTreeMap<&'static str, usize>,
    /// SCTP packets, each in a DTLS record.
    pub sctp: usize,
    /// The chunks in them, by type.
    pub chunks: BTreeMap<u8, usize>,
    /// DCEP messages: OPEN and ACK.
    pub dcep: usize,
    /// Messages of the application: of text, and of bytes.
    pub messages: (usize, usize),
    /// The bytes of all these messages.
    pub message_bytes: usize,
}

/// A session being read.
pub struct Replay<'s> {
    session: &'s Session,
    provider: Provider,
    inspector: Inspector,
    receivers: Option<[Receiver; 2]>,
    associations: [Direction; 2],
    /// The media of each end.
    pub media: [Media; 2],
    /// What was counted.
    pub counts: Counts,
    /// The datagrams, by their position in the capture, with which something was wrong.
    pub failures: Vec<(usize, Failure)>,
    /// Decrypted RTP and RTCP packets.
    pub plain_media: Vec<Bytes>,
    /// Decrypted SCTP packets.
    pub plain_sctp: Vec<Bytes>,
    /// Messages of the application, with who sent them.
    pub messages: Vec<(End, Message)>,
}

impl fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("session", &self.session.name)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl<'s> Replay<'s> {
    /// Reads all of a session.
    pub fn run(session: &'s Session) -> Self {
        let key_log = session.key_log.clone();
        let find = Box::new(move |label: &str, random: &[u8; 32]| key_log.secret(label, random));
        let media = |end: End| {
            let codecs = session.codecs_received_by(end.other());
            Media::new(session.extensions(), codecs, session.repeated_sources(end))
        };
        let mut replay = Self {
            session,
            provider: ring_provider(),
            inspector: Inspector::new(find, ring_provider()),
            receivers: None,
            associations: [Direction::default(), Direction::default()],
            media: End::BOTH.map(media),
            counts: Counts::default(),
            failures: Vec::new(),
            plain_media: Vec::new(),
            plain_sctp: Vec::new(),
            messages: Vec::new(),
        };
        for (index, datagram) in session.datagrams.iter().enumerate() {
            // RFC 9443 §3.
            let result = match (datagram.payload.first(), session.sender(datagram)) {
                // Not between two addresses that ICE has checked: DNS, for instance.
                (Some(20..=63 | 128..=191), None) => {
                    replay.counts.unrelated += 1;
                    Ok(())
                }
                (Some(20..=63), Some(end)) => {
                    replay.handle_dtls(index, end, &datagram.payload);
                    Ok(())
                }
                (Some(128..=191), Some(end)) => replay.handle_srtp(end, &datagram.payload),
                _ => Ok(()),
            };
            if let Err(failure) = result {
                replay.failures.push((index, failure));
            }
        }
        replay
    }

    /// What the handshake agreed on.
    pub fn dtls(&self) -> &Inspector {
        &self.inspector
    }

    /// The SRTP profile, if SRTP was agreed on.
    pub fn srtp_profile(&self) -> Option<Profile> {
        self.receivers.as_ref().map(|[receiver, _]| receiver.profile())
    }

    /// Whether both ends have shown the certificates whose fingerprints their descriptions announce.
    pub fn certificates_match(&self) -> bool {
        End::BOTH.into_iter().all(|end| {
            let certificate = self.inspector.certificate(self.session.dtls_role(end));
            certificate.is_some_and(|der| Fingerprint::any_matches(&self.session.fingerprints(end), der))
        })
    }

    /// SCTP messages that have begun and not ended.
    pub fn incomplete_messages(&self) -> usize {
        self.associations.iter().map(Direction::incomplete).sum()
    }

    fn handle_dtls(&mut self, index: usize, end: End, payload: &[u8]) {
        let role = self.session.dtls_role(end);
        for result in self.inspector.handle_datagram(role, BytesMut::from(payload)) {
            let record = match result {
                Ok(record) => record,
                Err(error) => {
                    self.failures.push((index, error.into()));
                    continue;
                }
            };
            let counter = if record.protected {
                &mut self.counts.records_opened
            } else {
                &mut self.counts.records_clear
            };
            *counter += 1;
            let result = match record.content {
                Content::Handshake(messages) => {
                    self.counts.handshake_messages += messages.len();
                    Ok(())
                }
                Content::Alert { .. } => {
                    self.counts.alerts += 1;
                    Ok(())
                }
                Content::Ack(_) => {
                    self.counts.acks += 1;
                    Ok(())
                }
                Content::ApplicationData(data) => self.handle_sctp(end, data),
                _ => Ok(()),
            };
            if let Err(failure) = result {
                self.failures.push((index, failure));
            }
        }
        if self.receivers.is_none()
            && let Some(keys) = self.inspector.srtp_keys(Role::Server)
        {
            match receivers(&keys, self.session.dtls_role(End::A), self.provider) {
                Ok(receivers) => self.receivers = Some(receivers),
                Err(error) => self.failures.push((index, error.into())),
            }
        }
    }

    fn handle_srtp(&mut self, end: End, payload: &[u8]) -> Result<(), Failure> {
        let [a, b] = self.receivers.as_mut().ok_or(Failure::NoSrtpKeys)?;
        let receiver = if end == End::A { a } else { b };
        let mut packet = BytesMut::from(payload);
        if is_rtcp(payload) {
            receiver.unprotect_rtcp(&mut packet)?;
            self.counts.rtcp += 1;
            let packet = packet.freeze();
            self.plain_media.push(packet.clone());
            for part in rtcp::packets(&packet) {
                let part = part.map_err(Failure::Rtcp)?;
                *self.counts.rtcp_kinds.entry(kind(&part)).or_default() += 1;
            }
            Ok(())
        } else {
            receiver.unprotect_rtp(&mut packet)?;
            self.counts.rtp += 1;
            let packet = packet.freeze();
            self.plain_media.push(packet.clone());
            Ok(self.media[end.index()].handle_rtp(&packet)?)
        }
    }

    fn handle_sctp(&mut self, end: End, packet: Bytes) -> Result<(), Failure> {
        self.counts.sctp += 1;
        self.plain_sctp.push(packet.clone());
        let inspected = self.associations[end.index()].handle_packet(&packet)?;
        for chunk in inspected.chunks {
            *self.counts.chunks.entry(chunk).or_default() += 1;
        }
        for message in inspected.messages {
            match message.ppid {
                ppid::DCEP => {
                    Dcep::parse(&message.data).ok_or(Failure::Dcep)?;
                    self.counts.dcep += 1;
                }
                other => {
                    let text = matches!(other, ppid::STRING | ppid::STRING_EMPTY);
                    let (texts, binaries) = &mut self.counts.messages;
                    *(if text { texts } else { binaries }) += 1;
                    self.counts.message_bytes += message.data.len();
                    self.messages.push((end, message));
                }
            }
        }
        Ok(())
    }
}

/// What decrypts the packets of each end; `keys` are the server's.
fn receivers(keys: &SrtpKeys, role_of_a: Role, provider: Provider) -> Result<[Receiver; 2], antiphon_srtp::Error> {
    let profile = Profile::from_code(keys.profile.code()).ok_or(antiphon_srtp::Error::Malformed)?;
    let receiver = |key: &antiphon_crypto::Secret, salt: &antiphon_crypto::Secret| {
        Receiver::new(profile, key.as_bytes(), salt.as_bytes(), provider)
    };
    let server = receiver(&keys.local_key, &keys.local_salt)?;
    let client = receiver(&keys.remote_key, &keys.remote_salt)?;
    Ok(if role_of_a == Role::Server {
        [server, client]
    } else {
        [client, server]
    })
}

/// The name of a kind of RTCP packet. Walks into its lists, so that they are parsed too.
fn kind(packet: &rtcp::Packet<'_>) -> &'static str {
    match packet {
        rtcp::Packet::SenderReport(report) => {
            report.blocks().for_each(drop);
            "SR"
        }
        rtcp::Packet::ReceiverReport(report) => {
            report.blocks().for_each(drop);
            "RR"
        }
        rtcp::Packet::Sdes(_) => "SDES",
        rtcp::Packet::Bye(_) => "BYE",
        rtcp::Packet::App(_) => "APP",
        rtcp::Packet::ExtendedReport(report) => {
            report.blocks().for_each(drop);
            "XR"
        }
        rtcp::Packet::Nack(nack) => {
            nack.sequences().for_each(drop);
            "NACK"
        }
        rtcp::Packet::TransportFeedback(feedback) => {
            feedback.statuses().for_each(drop);
            "transport-cc"
        }
        rtcp::Packet::Ccfb(_) => "ccfb",
        rtcp::Packet::Pli(_) => "PLI",
        rtcp::Packet::Fir(_) => "FIR",
        rtcp::Packet::Remb(_) => "REMB",
        _ => "unknown",
    }
}

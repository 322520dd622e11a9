//! A connection seen from outside, with its secrets: for captures, tools and tests.
//!
//! An [`Inspector`] takes the datagrams of both ends, opens every record through the same code as a
//! [`Connection`](crate::Connection), puts handshake messages together, checks both Finished, and derives what SRTP needs.

use antiphon_crypto::{Provider, Secret, constant_time_eq};
use antiphon_sansio::Reader;
use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::alert::{Alert, AlertDescription};
use crate::config::{CipherSuite, ProtocolVersion, Role, SrtpKeys, SrtpProfile};
use crate::exporter::Exporter;
use crate::handshake::extensions::{ExtensionType, Extensions};
use crate::handshake::hello::{ClientHello, HelloVerifyRequest, RANDOM_LEN, ServerHello};
use crate::handshake::messages::{CertificateChain, ServerKeyExchange};
use crate::handshake::messages13::{
    CertificateChain13, HELLO_RETRY_REQUEST, parse_encrypted_extensions, parse_key_update,
};
use crate::handshake::reassembly::{Push, Reassembly};
use crate::handshake::transcript::Transcript;
use crate::handshake::{DecodeError, FragmentHeader, Message, MessageType};
use crate::record::ack;
use crate::record::epoch::{APPLICATION_EPOCH, Epochs, HANDSHAKE_EPOCH, OpenError, Opened};
use crate::record::{ContentType, Record, Split, split};
use crate::v12;
use crate::v13::key_schedule::{finished, next_secret, protection};

/// Finds a secret by its label in the `SSLKEYLOGFILE` format and the random of the ClientHello.
pub type FindSecret = Box<dyn Fn(&str, &[u8; RANDOM_LEN]) -> Option<Secret> + Send>;

/// What stood in one record.
#[derive(Clone, Debug)]
pub struct InspectedRecord {
    /// The epoch that it belongs to.
    pub epoch: u16,
    /// Its number within the epoch.
    pub sequence: u64,
    /// Whether it was encrypted.
    pub protected: bool,
    /// What it carries.
    pub content: Content,
}

/// The content of a record.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Content {
    /// Fragments of handshake messages: the types of the messages that are whole now, in their order.
    Handshake(Vec<u8>),
    /// DTLS 1.2 only.
    ChangeCipherSpec,
    /// An alert.
    Alert {
        /// Whether it ends the connection at once.
        fatal: bool,
        /// What it says.
        description: AlertDescription,
    },
    /// DTLS 1.3 only: how many records are acknowledged.
    Ack(usize),
    /// The application's bytes.
    ApplicationData(Bytes),
}

/// Why a record was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InspectError {
    /// Not a record; the rest of the datagram is lost with it.
    #[error("not a record")]
    NotARecord,
    /// A record of a type that no version knows.
    #[error("a record of unknown type")]
    UnknownType,
    /// There is no secret for the record's epoch: not in the key log, or its hellos were not seen.
    #[error("no secret for the epoch of the record")]
    NoSecret,
    /// The tag is wrong.
    #[error("the record is not authentic")]
    Forged,
    /// Its number was seen before.
    #[error("the record was seen before")]
    Replayed,
    /// It opened, and its content is malformed.
    #[error("malformed content")]
    Malformed,
    /// A Finished is not over the messages that were seen.
    #[error("Finished does not fit the handshake")]
    WrongFinished,
}

impl From<DecodeError> for InspectError {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

/// What the hellos agreed on.
#[derive(Clone, Copy, Debug)]
struct Agreed {
    version: ProtocolVersion,
    suite: CipherSuite,
    server_random: [u8; RANDOM_LEN],
}

/// One end of the connection.
struct End {
    epochs: Epochs,
    reassembly: Reassembly,
    /// DTLS 1.3: the secret of the newest epoch of application data.
    traffic: Option<Secret>,
    certificate: Option<Bytes>,
    finished: bool,
}

impl End {
    fn new() -> Self {
        Self {
            epochs: Epochs::default(),
            reassembly: Reassembly::default(),
            traffic: None,
            certificate: None,
            finished: false,
        }
    }
}

/// Reads one connection.
pub struct Inspector {
    find: FindSecret,
    provider: Provider,
    client: End,
    server: End,
    transcript: Transcript,
    client_random: Option<[u8; RANDOM_LEN]>,
    agreed: Option<Agreed>,
    group: Option<u16>,
    srtp: Option<SrtpProfile>,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector")
            .field("agreed", &self.agreed)
            .finish_non_exhaustive()
    }
}

impl Inspector {
    /// An inspector that has seen nothing yet.
    pub fn new(find: FindSecret, provider: Provider) -> Self {
        Self {
            find,
            provider,
            client: End::new(),
            server: End::new(),
            transcript: Transcript::default(),
            client_random: None,
            agreed: None,
            group: None,
            srtp: None,
        }
    }

    /// Takes one datagram that `sender` sent: one result for each of its records.
    pub fn handle_datagram(
        &mut self,
        sender: Role,
        mut datagram: BytesMut,
    ) -> Vec<Result<InspectedRecord, InspectError>> {
        let mut results = Vec::new();
        while !datagram.is_empty() {
            results.push(match split(&mut datagram) {
                Split::Record(mut record) => self
                    .open(sender, &mut record)
                    .and_then(|opened| self.read(sender, opened, record.bytes)),
                Split::Unknown => Err(InspectError::UnknownType),
                Split::Malformed => {
                    datagram.clear();
                    Err(InspectError::NotARecord)
                }
            });
        }
        results
    }

    /// The version, once a ServerHello has told.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.agreed.map(|agreed| agreed.version)
    }

    /// The cipher suite, once a ServerHello has told.
    pub fn cipher_suite(&self) -> Option<CipherSuite> {
        self.agreed.map(|agreed| agreed.suite)
    }

    /// The number of the key-exchange group, see [`NamedGroup`](crate::NamedGroup).
    pub fn group(&self) -> Option<u16> {
        self.group
    }

    /// The certificate (DER) that an end has shown.
    pub fn certificate(&self, of: Role) -> Option<&Bytes> {
        match of {
            Role::Client => self.client.certificate.as_ref(),
            Role::Server => self.server.certificate.as_ref(),
        }
    }

    /// Whether both Finished were seen, and right.
    pub fn is_complete(&self) -> bool {
        self.client.finished && self.server.finished
    }

    /// The SRTP master keys that `end` has (RFC 5764 §4.2), once use_srtp is agreed on.
    pub fn srtp_keys(&self, end: Role) -> Option<SrtpKeys> {
        let agreed = self.agreed?;
        let client_random = self.client_random?;
        let hash = agreed.suite.hash();
        let exporter = match agreed.version {
            ProtocolVersion::Dtls12 => Exporter::V12 {
                hash,
                master: self.secret("CLIENT_RANDOM").ok()?,
                client_random,
                server_random: agreed.server_random,
            },
            ProtocolVersion::Dtls13 => Exporter::V13 {
                hash,
                secret: self.secret("EXPORTER_SECRET").ok()?,
            },
        };
        exporter.srtp_keys(self.provider, end, self.srtp?).ok()
    }

    fn end(&mut self, of: Role) -> &mut End {
        match of {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    fn secret(&self, label: &str) -> Result<Secret, InspectError> {
        let random = self.client_random.as_ref().ok_or(InspectError::NoSecret)?;
        (self.find)(label, random).ok_or(InspectError::NoSecret)
    }

    fn open(&mut self, sender: Role, record: &mut Record) -> Result<Opened, InspectError> {
        let Record { header, bytes } = record;
        let opened = self
            .end(sender)
            .epochs
            .open(header, bytes)
            .map_err(|error| match error {
                OpenError::NoKeys => InspectError::NoSecret,
                OpenError::Replayed => InspectError::Replayed,
                OpenError::Malformed => InspectError::Malformed,
                OpenError::Forged | OpenError::Exhausted => InspectError::Forged,
            })?;
        bytes.truncate(opened.len);
        Ok(opened)
    }

    fn read(&mut self, sender: Role, opened: Opened, body: BytesMut) -> Result<InspectedRecord, InspectError> {
        let Opened {
            content_type,
            epoch,
            sequence,
            ..
        } = opened;
        let content = match content_type {
            ContentType::ChangeCipherSpec => Content::ChangeCipherSpec,
            ContentType::Alert => {
                let Alert { fatal, description } = Alert::parse(&body).ok_or(InspectError::Malformed)?;
                Content::Alert { fatal, description }
            }
            ContentType::Ack => Content::Ack(ack::parse(&body).ok_or(InspectError::Malformed)?.len()),
            ContentType::ApplicationData => Content::ApplicationData(body.freeze()),
            ContentType::Handshake => Content::Handshake(self.read_fragments(sender, epoch, &body)?),
        };
        let protected = epoch > 0;
        Ok(InspectedRecord {
            epoch,
            sequence,
            protected,
            content,
        })
    }

    fn read_fragments(&mut self, sender: Role, epoch: u16, body: &[u8]) -> Result<Vec<u8>, InspectError> {
        let mut reader = Reader::new(body);
        let mut whole = Vec::new();
        while !reader.is_empty() {
            let (header, fragment) = FragmentHeader::parse(&mut reader)?;
            if self.end(sender).reassembly.push(epoch, &header, fragment) == Push::Refused {
                return Err(InspectError::Malformed);
            }
            while let Some(message) = self.end(sender).reassembly.pop() {
                whole.push(message.msg_type.0);
                self.read_message(sender, &message)?;
            }
        }
        Ok(whole)
    }

    fn read_message(&mut self, sender: Role, message: &Message) -> Result<(), InspectError> {
        let version = self.version();
        match message.msg_type {
            MessageType::CLIENT_HELLO => self.client_random = Some(ClientHello::parse(&message.body)?.random),
            MessageType::HELLO_VERIFY_REQUEST => {
                HelloVerifyRequest::parse(&message.body)?;
                // RFC 6347 §4.2.1: neither it nor the hello before it is part of the handshake.
                self.transcript.clear();
                return Ok(());
            }
            MessageType::SERVER_HELLO => return self.read_server_hello(message),
            MessageType::ENCRYPTED_EXTENSIONS => self.note_srtp(&parse_encrypted_extensions(&message.body)?)?,
            MessageType::SERVER_KEY_EXCHANGE => self.group = Some(ServerKeyExchange::parse(&message.body)?.group),
            MessageType::CERTIFICATE => {
                let chain = if version == Some(ProtocolVersion::Dtls13) {
                    CertificateChain13::parse(&message.body)?.chain
                } else {
                    CertificateChain::parse(&message.body)?.chain
                };
                self.end(sender).certificate = chain.into_iter().next();
            }
            MessageType::FINISHED => {
                if !self.is_finished(sender, &message.body)? {
                    return Err(InspectError::WrongFinished);
                }
                self.end(sender).finished = true;
            }
            MessageType::KEY_UPDATE => {
                parse_key_update(&message.body)?;
                return self.read_key_update(sender, message.epoch);
            }
            _ => {}
        }
        self.transcript
            .add(message.msg_type, message.message_seq, &message.body);
        Ok(())
    }

    fn read_server_hello(&mut self, message: &Message) -> Result<(), InspectError> {
        let hello = ServerHello::parse(&message.body)?;
        let suite = CipherSuite::from_code(hello.cipher_suite).ok_or(InspectError::Malformed)?;
        let version = suite.version();
        if version == ProtocolVersion::Dtls13 {
            self.transcript.start_running(self.provider, suite.hash());
        }
        let retry = hello.random == HELLO_RETRY_REQUEST;
        if retry {
            self.transcript.replace_by_hash(self.provider);
        }
        self.transcript
            .add(message.msg_type, message.message_seq, &message.body);
        if retry {
            return Ok(());
        }
        self.agreed = Some(Agreed {
            version,
            suite,
            server_random: hello.random,
        });
        self.note_srtp(&hello.extensions)?;
        match version {
            ProtocolVersion::Dtls12 => self.install_12(suite, &hello.random),
            ProtocolVersion::Dtls13 => {
                // The group stands at the front of the server's share (RFC 8446 §4.2.8).
                let share = hello
                    .extensions
                    .get(ExtensionType::KEY_SHARE)
                    .and_then(|body| body.first_chunk::<2>());
                self.group = share.map(|group| u16::from_be_bytes(*group));
                self.install_13(suite)
            }
        }
    }

    fn note_srtp(&mut self, extensions: &Extensions) -> Result<(), InspectError> {
        if let Some(use_srtp) = extensions.use_srtp()? {
            self.srtp = use_srtp.profiles.first().and_then(|code| SrtpProfile::from_code(*code));
        }
        Ok(())
    }

    fn install_12(&mut self, suite: CipherSuite, server_random: &[u8; RANDOM_LEN]) -> Result<(), InspectError> {
        let master = self.secret("CLIENT_RANDOM")?;
        let client_random = self.client_random.ok_or(InspectError::NoSecret)?;
        let mac = self.provider.mac(suite.hash(), master.as_bytes());
        let (client, server) = v12::key_block(self.provider, suite, &*mac, &client_random, server_random)
            .map_err(|_| InspectError::NoSecret)?;
        self.client.epochs.receive_in(v12::EPOCH, client);
        self.server.epochs.receive_in(v12::EPOCH, server);
        Ok(())
    }

    fn install_13(&mut self, suite: CipherSuite) -> Result<(), InspectError> {
        for (role, handshake, application) in [
            (
                Role::Client,
                "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                "CLIENT_TRAFFIC_SECRET_0",
            ),
            (
                Role::Server,
                "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                "SERVER_TRAFFIC_SECRET_0",
            ),
        ] {
            let (handshake, application) = (self.secret(handshake)?, self.secret(application)?);
            for (epoch, secret) in [(HANDSHAKE_EPOCH, &handshake), (APPLICATION_EPOCH, &application)] {
                let keys = protection(self.provider, suite, secret).map_err(|_| InspectError::NoSecret)?;
                self.end(role).epochs.receive_in(epoch, keys);
            }
            self.end(role).traffic = Some(application);
        }
        Ok(())
    }

    /// The sender takes the next keys (RFC 9147 §8). Older epochs stay readable: records may be late.
    fn read_key_update(&mut self, sender: Role, epoch: u16) -> Result<(), InspectError> {
        let Agreed { suite, .. } = self.agreed.ok_or(InspectError::NoSecret)?;
        let provider = self.provider;
        let end = self.end(sender);
        let secret = end.traffic.as_ref().ok_or(InspectError::NoSecret)?;
        let next = next_secret(provider, suite.hash(), secret).map_err(|_| InspectError::NoSecret)?;
        let keys = protection(provider, suite, &next).map_err(|_| InspectError::NoSecret)?;
        end.epochs.receive_in(epoch.wrapping_add(1), keys);
        end.traffic = Some(next);
        Ok(())
    }

    fn is_finished(&self, sender: Role, body: &[u8]) -> Result<bool, InspectError> {
        let Agreed { version, suite, .. } = self.agreed.ok_or(InspectError::NoSecret)?;
        let hash = self.transcript.hash(self.provider, suite.hash());
        match version {
            ProtocolVersion::Dtls12 => {
                let master = self.secret("CLIENT_RANDOM")?;
                let mac = self.provider.mac(suite.hash(), master.as_bytes());
                let expected = v12::verify_data(suite, &*mac, &hash, sender);
                Ok(constant_time_eq(&expected, body))
            }
            ProtocolVersion::Dtls13 => {
                let secret = self.secret(match sender {
                    Role::Client => "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                    Role::Server => "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                })?;
                let tag = finished(self.provider, suite.hash(), &secret, hash.as_bytes())
                    .map_err(|_| InspectError::WrongFinished)?;
                Ok(body.len() == suite.hash().output_len() && tag.verify(body))
            }
        }
    }
}

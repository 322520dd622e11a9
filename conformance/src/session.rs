//! One captured session: its datagrams, who sent each, and what both descriptions say.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use antiphon_dtls::{Fingerprint, Role};
use antiphon_rtp::extension::Map;
use antiphon_rtp::payload::Depacketizer;
use antiphon_sdp::{Section, SessionDescription, Setup};
use antiphon_stun::{Class, Message, Method};

use crate::capture::{self, CaptureError, Datagram};
use crate::keylog::{KeyLog, KeyLogError};

/// One of the two browsers. `A` offered first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The offerer.
    A,
    /// The answerer.
    B,
}

impl End {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// 0 or 1.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The one across.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Why a session was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// A description does not parse.
    #[error("{0}: {1}")]
    Description(PathBuf, antiphon_sdp::ParseError),
    /// No offer or no answer among the files.
    #[error("no description of {0:?}")]
    NoDescription(End),
    /// The capture.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The key log.
    #[error(transparent)]
    KeyLog(#[from] KeyLogError),
}

/// What a payload type stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// The encoding name.
    pub name: String,
    /// The payload format.
    pub format: Depacketizer,
    /// For retransmissions: the payload type that is repeated (RFC 4588 §8.1).
    pub repeats: Option<u8>,
}

/// A session on disk.
#[derive(Debug)]
pub struct Session {
    /// The folder's name, and the view if it is one end's.
    pub name: String,
    /// All UDP datagrams.
    pub datagrams: Vec<Datagram>,
    /// Firefox's secrets; empty if neither end wrote any.
    pub key_log: KeyLog,
    descriptions: [Vec<SessionDescription>; 2],
    addresses: BTreeMap<SocketAddr, End>,
}

impl Session {
    /// The captures in a session's folder: one of the whole, or what each end saw.
    pub fn captures(folder: &Path) -> Vec<PathBuf> {
        ["session.pcap", "session-view-A.pcap", "session-view-B.pcap"]
            .into_iter()
            .map(|name| folder.join(name))
            .filter(|file| file.exists())
            .collect()
    }

    /// Reads a capture, and the descriptions and key logs beside it.
    ///
    /// # Errors
    /// If a file cannot be read, or what is in it is malformed.
    pub fn open(capture_file: &Path) -> Result<Self, SessionError> {
        let folder = capture_file.parent().unwrap_or(Path::new("."));
        let mut files: Vec<PathBuf> = fs::read_dir(folder)
            .map_err(|error| SessionError::Read(folder.to_owned(), error))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .collect();
        files.sort();
        let mut descriptions = [Vec::new(), Vec::new()];
        let mut key_log = KeyLog::default();
        for file in &files {
            let name = file_name(file);
            if name.starts_with("keylog-") {
                key_log.add_file(file)?;
            } else if name.ends_with(".sdp") {
                let end = if name.contains("-A-") { End::A } else { End::B };
                let text = fs::read_to_string(file).map_err(|error| SessionError::Read(file.clone(), error))?;
                let description = SessionDescription::parse(&text);
                descriptions[end.index()]
                    .push(description.map_err(|error| SessionError::Description(file.clone(), error))?);
            }
        }
        for end in End::BOTH {
            if descriptions[end.index()].is_empty() {
                return Err(SessionError::NoDescription(end));
            }
        }
        let view = file_name(capture_file);
        let view = view
            .strip_prefix("session-view-")
            .and_then(|rest| rest.strip_suffix(".pcap"));
        let mut session = Self {
            name: format!(
                "{}{}",
                file_name(folder),
                view.map_or(String::new(), |view| format!(" (seen by {view})"))
            ),
            datagrams: capture::read(capture_file)?,
            key_log,
            descriptions,
            addresses: BTreeMap::new(),
        };
        session.find_addresses();
        Ok(session)
    }

    /// Who sent a datagram; `None` if no ICE check told whose address it is.
    pub fn sender(&self, datagram: &Datagram) -> Option<End> {
        let by_source = self.addresses.get(&datagram.source).copied();
        by_source.or_else(|| self.addresses.get(&datagram.destination).map(|end| end.other()))
    }

    /// The descriptions of one end, oldest first.
    pub fn descriptions(&self, end: End) -> &[SessionDescription] {
        &self.descriptions[end.index()]
    }

    /// Every section of the descriptions of one end: session level and media.
    pub fn sections(&self, end: End) -> impl Iterator<Item = &Section> {
        self.descriptions(end)
            .iter()
            .flat_map(|d| std::iter::once(&d.session).chain(d.media.iter().map(|media| &media.section)))
    }

    /// ICE passwords by user fragment, with whose they are.
    pub fn credentials(&self) -> BTreeMap<&str, (End, &str)> {
        let mut credentials = BTreeMap::new();
        for end in End::BOTH {
            for section in self.sections(end) {
                if let (Some(ufrag), Some(pwd)) = (section.ice_ufrag(), section.ice_pwd()) {
                    credentials.insert(ufrag, (end, pwd));
                }
            }
        }
        credentials
    }

    /// The DTLS role of an end: the first answer says (RFC 8842 §5.3).
    pub fn dtls_role(&self, end: End) -> Role {
        let answerer_is_client = self.sections(End::B).find_map(Section::setup) != Some(Setup::Passive);
        if (end == End::B) == answerer_is_client {
            Role::Client
        } else {
            Role::Server
        }
    }

    /// The certificate fingerprints that an end has announced.
    pub fn fingerprints(&self, end: End) -> Vec<Fingerprint> {
        self.sections(end)
            .flat_map(Section::fingerprints)
            .filter_map(|fingerprint| fingerprint.to_string().parse().ok())
            .collect()
    }

    /// Header extensions: identifiers mean the same in all bundled sections (RFC 9143 §12), and both directions.
    /// The second map has every identifier with its URI, known to us or not.
    pub fn extensions(&self) -> (Map, BTreeMap<u8, String>) {
        let (mut map, mut all) = (Map::default(), BTreeMap::new());
        for extmap in End::BOTH
            .into_iter()
            .flat_map(|end| self.sections(end))
            .flat_map(Section::extmaps)
        {
            if let Ok(id) = u8::try_from(extmap.id) {
                map.insert_uri(id, extmap.uri);
                all.insert(id, extmap.uri.to_owned());
            }
        }
        (map, all)
    }

    /// What the payload types stand for that the other end may send to `end`: its own description says (RFC 3264 §6.1).
    pub fn codecs_received_by(&self, end: End) -> BTreeMap<u8, Codec> {
        let mut codecs = BTreeMap::new();
        for media in self.descriptions(end).iter().flat_map(|description| &description.media) {
            for payload_type in media.line.payload_types() {
                let Some(rtpmap) = media.rtpmap(payload_type) else {
                    continue;
                };
                let parameters = media.fmtp(payload_type).map_or("", |fmtp| fmtp.parameters);
                let codec = Codec {
                    name: rtpmap.encoding.to_owned(),
                    format: Depacketizer::new(rtpmap.encoding),
                    repeats: parameters
                        .split(';')
                        .find_map(|p| p.trim().strip_prefix("apt=")?.parse().ok()),
                };
                codecs.insert(payload_type, codec);
            }
        }
        codecs
    }

    /// Which source repeats which, as `end` has announced it: retransmission to original (RFC 5576 §4.2).
    pub fn repeated_sources(&self, end: End) -> BTreeMap<u32, u32> {
        let groups = self.sections(end).flat_map(Section::ssrc_groups);
        groups
            .filter(|group| group.semantics == "FID")
            .filter_map(|group| Some((*group.ssrcs.get(1)?, *group.ssrcs.first()?)))
            .collect()
    }

    /// A check's USERNAME is `receiver:sender` (RFC 8445 §7.2.2).
    fn find_addresses(&mut self) {
        let mut addresses = BTreeMap::new();
        let credentials = self.credentials();
        for datagram in &self.datagrams {
            let Ok(message) = Message::parse(&datagram.payload) else {
                continue;
            };
            if message.class() != Class::Request || message.method() != Method::BINDING {
                continue;
            }
            let Some((receiver, sender)) = message.username().and_then(|name| name.split_once(':')) else {
                continue;
            };
            if let Some((end, _)) = credentials.get(receiver) {
                addresses.insert(datagram.destination, *end);
            }
            if let Some((end, _)) = credentials.get(sender) {
                addresses.insert(datagram.source, *end);
            }
        }
        self.addresses = addresses;
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

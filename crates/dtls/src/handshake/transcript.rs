//! The messages that both ends hash: what Finished and signatures are about.

use antiphon_crypto::{Digest, Hash, HashAlgorithm, Provider};

use crate::handshake::{self, FragmentHeader, MessageType};

/// The messages of a handshake so far, as both ends hash and sign them.
///
/// Until the ServerHello the version is open and with it the form, and so is the hash function. From then on there is a
/// running hash. DTLS 1.2 goes on keeping the messages beside it: its signatures may use another hash function than the suite
/// does (RFC 5246 §7.4.8). The reassembly bounds each message, and each is taken once.
#[derive(Default)]
pub(crate) struct Transcript {
    bytes: Vec<u8>,
    running: Option<(HashAlgorithm, Box<dyn Hash>)>,
    is_13: bool,
}

impl Transcript {
    /// Adds a message: in DTLS 1.2 as if it had come in one piece (RFC 6347 §4.2.6), in DTLS 1.3 with a header as in TLS
    /// (RFC 9147 §5.2).
    pub(crate) fn add(&mut self, msg_type: MessageType, message_seq: u16, body: &[u8]) {
        let header = FragmentHeader::whole(msg_type, message_seq, body.len()).bytes();
        if self.is_13 {
            if let Some((_, hash)) = &mut self.running {
                hash.update(&header[..4]);
                hash.update(body);
            }
            return;
        }
        if let Some((_, hash)) = &mut self.running {
            hash.update(&header);
            hash.update(body);
        }
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(body);
    }

    /// Goes on as DTLS 1.2 has it, with the hash function of the suite that was chosen.
    pub(crate) fn start_running_12(&mut self, provider: Provider, algorithm: HashAlgorithm) {
        let mut hash = provider.hash(algorithm);
        hash.update(&self.bytes);
        self.running = Some((algorithm, hash));
    }

    /// Goes on as DTLS 1.3 has it, with the hash function of the suite that the server chose.
    pub(crate) fn start_running(&mut self, provider: Provider, algorithm: HashAlgorithm) {
        if self.is_13 {
            return;
        }
        let mut hash = provider.hash(algorithm);
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = bytes.as_slice();
        while let Some((header, after)) = rest.split_first_chunk::<{ handshake::HEADER_LEN }>() {
            let length = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
            let (body, after) = after.split_at(length.min(after.len()));
            hash.update(&header[..4]);
            hash.update(body);
            rest = after;
        }
        self.is_13 = true;
        self.running = Some((algorithm, hash));
    }

    /// Puts a hash in the place of the first ClientHello: after HelloRetryRequest (RFC 8446 §4.4.1).
    pub(crate) fn replace_by_hash(&mut self, provider: Provider) {
        if let Some((algorithm, hash)) = self.running.take() {
            let digest = hash.finish();
            self.running = Some((algorithm, provider.hash(algorithm)));
            self.add(MessageType::MESSAGE_HASH, 0, digest.as_bytes());
        }
    }

    /// Forgets everything: after HelloVerifyRequest the handshake begins anew (RFC 6347 §4.2.1).
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.running = None;
    }

    /// Everything so far, in DTLS 1.2.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of everything so far.
    pub(crate) fn hash(&self, provider: Provider, algorithm: HashAlgorithm) -> Digest {
        match &self.running {
            Some((running, hash)) if *running == algorithm => hash.fork().finish(),
            _ => {
                let mut hash = provider.hash(algorithm);
                hash.update(&self.bytes);
                hash.finish()
            }
        }
    }

    /// Gives the memory back once the handshake is complete.
    pub(crate) fn release(&mut self) {
        *self = Self::default();
    }
}

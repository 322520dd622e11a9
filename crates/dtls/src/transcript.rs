use antiphon_crypto::{Digest, HashAlgorithm, Provider};

use crate::handshake::{FragmentHeader, MessageType};

/// The messages of a handshake so far, as both ends hash and sign them.
///
/// They are kept rather than hashed as they come: which hash function it will be is not known before the ServerHello, and
/// signatures of DTLS 1.2 may use another (RFC 5246 §7.4.8). The reassembly bounds each message, and each is taken once.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    bytes: Vec<u8>,
}

impl Transcript {
    /// Adds a message as if it had come in one piece (RFC 6347 §4.2.6).
    pub(crate) fn add(&mut self, msg_type: MessageType, message_seq: u16, body: &[u8]) {
        self.bytes
            .extend_from_slice(&FragmentHeader::whole(msg_type, message_seq, body.len()).bytes());
        self.bytes.extend_from_slice(body);
    }

    /// Forgets everything: after HelloVerifyRequest the handshake begins anew (RFC 6347 §4.2.1).
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Everything so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of everything so far.
    pub(crate) fn hash(&self, provider: Provider, algorithm: HashAlgorithm) -> Digest {
        let mut hash = provider.hash(algorithm);
        hash.update(&self.bytes);
        hash.finish()
    }

    /// Gives the memory back once the handshake is complete.
    pub(crate) fn release(&mut self) {
        self.bytes = Vec::new();
    }
}

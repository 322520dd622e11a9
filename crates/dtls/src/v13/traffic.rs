//! What goes on after the handshake of DTLS 1.3: messages of the peer, and renewal of keys (RFC 9147 §8).

use antiphon_crypto::Secret;

use super::key_schedule::{next_secret, protection};
use crate::config::CipherSuite;
use crate::error::Error;
use crate::handshake::messages13::parse_key_update;
use crate::handshake::{Message, MessageType};
use crate::layer::{Fault, Layer};
use crate::record::epoch::APPLICATION_EPOCH;

/// What goes on after the handshake: the secrets of both directions, and their renewal (RFC 9147 §8).
pub(crate) struct Traffic {
    suite: CipherSuite,
    local: Secret,
    remote: Secret,
    /// We have sent KeyUpdate and wait for its acknowledgement, before which the new keys are not used.
    updating: bool,
}

impl Traffic {
    pub(crate) fn new(suite: CipherSuite, local: Secret, remote: Secret) -> Self {
        Self {
            suite,
            local,
            remote,
            updating: false,
        }
    }

    /// Takes a message that came after the handshake. All are acknowledged at once.
    pub(crate) fn handle(&mut self, layer: &mut Layer, message: &Message) -> Result<(), Fault> {
        if message.epoch < APPLICATION_EPOCH {
            return Err(Fault::Malformed);
        }
        match message.msg_type {
            MessageType::KEY_UPDATE => {
                let requested = parse_key_update(&message.body)?;
                let newest = layer.epochs.newest_read();
                if message.epoch != newest {
                    return Err(Fault::Malformed);
                }
                let provider = layer.config.provider;
                let epoch = newest.checked_add(1).ok_or(Error::Exhausted)?;
                self.remote = next_secret(provider, self.suite.hash(), &self.remote)?;
                layer
                    .epochs
                    .receive_in(epoch, protection(provider, self.suite, &self.remote)?);
                layer.epochs.forget_before(epoch);
                layer.acknowledge_now();
                if requested {
                    self.update(layer, false);
                }
                Ok(())
            }
            // We offer no resumption; who sends a ticket nevertheless is told that it arrived.
            MessageType::NEW_SESSION_TICKET => {
                layer.acknowledge_now();
                Ok(())
            }
            _ => Err(Fault::Malformed),
        }
    }

    /// Begins to renew our own keys, and asks the peer to renew its, unless that is on its way.
    pub(crate) fn update(&mut self, layer: &mut Layer, request: bool) {
        if self.updating {
            return;
        }
        self.updating = true;
        if layer.flight.is_empty() {
            layer.flight.begin(true);
        }
        layer.send_unrecorded(MessageType::KEY_UPDATE, vec![u8::from(request)]);
    }

    /// Whether our KeyUpdate waits to be acknowledged.
    pub(crate) fn is_updating(&self) -> bool {
        self.updating
    }

    /// All that we sent has been acknowledged.
    pub(crate) fn acknowledged(&mut self, layer: &mut Layer) -> Result<(), Error> {
        if std::mem::take(&mut self.updating) {
            let provider = layer.config.provider;
            let epoch = layer.epochs.sending().checked_add(1).ok_or(Error::Exhausted)?;
            self.local = next_secret(provider, self.suite.hash(), &self.local)?;
            layer
                .epochs
                .prepare_send_in(epoch, protection(provider, self.suite, &self.local)?);
            layer.epochs.switch_send_to(epoch);
            layer.epochs.forget_sent_before(epoch);
        }
        Ok(())
    }
}

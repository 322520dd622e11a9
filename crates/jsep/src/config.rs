//! What a negotiator is told once.

use std::sync::Arc;

use crate::capabilities::MediaCapabilities;
use crate::types::{CongestionFeedbackPolicy, HeaderEncryptionPolicy};

/// What a [`Negotiator`](crate::Negotiator) is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The codecs and header extensions that are negotiated.
    pub capabilities: Arc<MediaCapabilities>,
    /// The largest data-channel message that we take, in bytes; 0 means any size. Browsers say 262144.
    pub max_message_size: u64,
    /// The SCTP port at our end (`a=sctp-port`).
    pub sctp_port: u16,
    /// The CNAME of all our streams (RFC 7022); drawn at random if empty.
    pub cname: String,
    /// Mark all sections but the first `a=bundle-only` with port 0 when first offered (`bundlePolicy: max-bundle`).
    /// Either way everything runs on one transport.
    pub bundle_only: bool,
    /// Whether `a=cryptex` is offered, accepted, or required (RFC 9335 §4); by default only accepted.
    pub header_encryption: HeaderEncryptionPolicy,
    /// Whether `a=rtcp-fb:* ack ccfb` is offered or accepted (RFC 8888 §6); by default only accepted.
    pub congestion_feedback: CongestionFeedbackPolicy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            capabilities: MediaCapabilities::shared_default(),
            max_message_size: 262_144,
            sctp_port: 5000,
            cname: String::new(),
            bundle_only: false,
            header_encryption: HeaderEncryptionPolicy::default(),
            congestion_feedback: CongestionFeedbackPolicy::default(),
        }
    }
}

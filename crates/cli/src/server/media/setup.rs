//! What every peer connection of the server is made from.

use std::sync::Arc;

use antiphon::{Api, RtcConfiguration};

use crate::link::LinkSpec;
use crate::server::chat::Hall;
use crate::sources::{Studio, VideoCodec};

/// What every peer connection is made from, and what all of them share.
#[derive(Debug)]
pub(in crate::server) struct Setup {
    pub(in crate::server) api: Api,
    /// Servers and policy.
    pub(in crate::server) configuration: RtcConfiguration,
    pub(in crate::server) studio: Studio,
    /// The codec of the pattern, for who takes it.
    pub(in crate::server) video: VideoCodec,
    /// What is put between each session and its peer at first.
    pub(in crate::server) link: Option<LinkSpec>,
    /// Where their data channels lead.
    pub(in crate::server) hall: Arc<Hall>,
}

//! The report that `getStats` gives: its entries, and those of them that belong to one sender or receiver.

use std::time::Duration;

use super::dictionaries::{
    CandidatePairStats, CandidateStats, CertificateStats, CodecStats, CongestionStats, DataChannelStats,
    PeerConnectionStats, TransportStats,
};
use super::member::StatValue;
use super::rtp::{
    AudioPlayoutStats, AudioSourceStats, InboundRtpStats, OutboundRtpStats, RemoteInboundRtpStats,
    RemoteOutboundRtpStats, VideoSourceStats,
};

/// Declares the entry that is one of the dictionaries.
macro_rules! entries {
    ($($(#[$meta:meta])* $variant:ident($dictionary:ident) = $word:literal,)*) => {
        /// One entry of a report.
        // A report has a few dozen of them, and is seldom made.
        #[allow(clippy::large_enum_variant)]
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum RtcStats {
            $($(#[$meta])* $variant($dictionary),)*
        }

        impl RtcStats {
            /// The entry's `type`.
            pub fn stat_type(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $word,)*
                }
            }

            /// The entry's `id`.
            pub fn id(&self) -> &str {
                match self {
                    $(Self::$variant(stats) => &stats.id,)*
                }
            }

            /// The other members that are present, with their names in webrtc-stats.
            pub fn members(&self) -> Vec<(&'static str, StatValue)> {
                match self {
                    $(Self::$variant(stats) => stats.members(),)*
                }
            }
        }
    };
}

entries! {
    /// The whole connection.
    PeerConnection(PeerConnectionStats) = "peer-connection",
    /// The one transport.
    Transport(TransportStats) = "transport",
    /// A pair of candidates.
    CandidatePair(CandidatePairStats) = "candidate-pair",
    /// How congestion control is doing; only with media that is sent or received.
    Congestion(CongestionStats) = "antiphon-congestion",
    /// A candidate of ours.
    LocalCandidate(CandidateStats) = "local-candidate",
    /// A candidate of the peer's.
    RemoteCandidate(CandidateStats) = "remote-candidate",
    /// A certificate.
    Certificate(CertificateStats) = "certificate",
    /// A codec in use.
    Codec(CodecStats) = "codec",
    /// A stream that we receive.
    InboundRtp(InboundRtpStats) = "inbound-rtp",
    /// A stream that we send.
    OutboundRtp(OutboundRtpStats) = "outbound-rtp",
    /// A stream that we send, as the peer receives it.
    RemoteInboundRtp(RemoteInboundRtpStats) = "remote-inbound-rtp",
    /// A stream that we receive, as the peer sends it.
    RemoteOutboundRtp(RemoteOutboundRtpStats) = "remote-outbound-rtp",
    /// What a sender of sound is given.
    AudioSource(AudioSourceStats) = "media-source",
    /// What a sender of pictures is given.
    VideoSource(VideoSourceStats) = "media-source",
    /// Where the application plays sound.
    AudioPlayout(AudioPlayoutStats) = "media-playout",
    /// A data channel.
    DataChannel(DataChannelStats) = "data-channel",
}

/// All figures of a connection at one moment (`RTCStatsReport`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RtcStatsReport {
    /// When the figures were taken, counted from the Unix epoch.
    pub timestamp: Duration,
    /// The entries, in no order that means anything.
    pub entries: Vec<RtcStats>,
}

impl RtcStatsReport {
    /// The entry with this id.
    pub fn get(&self, id: &str) -> Option<&RtcStats> {
        self.entries.iter().find(|entry| entry.id() == id)
    }

    /// The entries of which `is_wanted` is true, and all that they speak of, by whatever way (webrtc-pc §8.6, "stats selection
    /// algorithm").
    pub(crate) fn selected(mut self, is_wanted: impl Fn(&RtcStats) -> bool) -> Self {
        let mut wanted: Vec<bool> = self.entries.iter().map(is_wanted).collect();
        let mut open: Vec<usize> = (0..wanted.len()).filter(|at| wanted[*at]).collect();
        while let Some(at) = open.pop() {
            for (name, value) in self.entries[at].members() {
                let StatValue::Text(id) = value else { continue };
                if name.ends_with("Id")
                    && let Some(other) = self.entries.iter().position(|entry| entry.id() == id)
                    && !std::mem::replace(&mut wanted[other], true)
                {
                    open.push(other);
                }
            }
        }
        let mut wanted = wanted.into_iter();
        self.entries.retain(|_| wanted.next() == Some(true));
        self
    }

    /// The transport's entry.
    pub fn transport(&self) -> Option<&TransportStats> {
        self.entries.iter().find_map(|entry| match entry {
            RtcStats::Transport(stats) => Some(stats),
            _ => None,
        })
    }

    /// The entry of the pair in use.
    pub fn selected_pair(&self) -> Option<&CandidatePairStats> {
        self.entries.iter().find_map(|entry| match entry {
            RtcStats::CandidatePair(stats) if stats.selected => Some(stats),
            _ => None,
        })
    }

    /// How congestion control is doing.
    pub fn congestion(&self) -> Option<&CongestionStats> {
        self.entries.iter().find_map(|entry| match entry {
            RtcStats::Congestion(stats) => Some(stats),
            _ => None,
        })
    }

    /// What the peers' sender reports say of the streams that we receive.
    pub fn remote_outbound_rtp(&self) -> impl Iterator<Item = &RemoteOutboundRtpStats> {
        self.entries.iter().filter_map(|entry| match entry {
            RtcStats::RemoteOutboundRtp(stats) => Some(stats),
            _ => None,
        })
    }

    /// The streams that we receive.
    pub fn inbound_rtp(&self) -> impl Iterator<Item = &InboundRtpStats> {
        self.entries.iter().filter_map(|entry| match entry {
            RtcStats::InboundRtp(stats) => Some(stats),
            _ => None,
        })
    }

    /// The streams that we send.
    pub fn outbound_rtp(&self) -> impl Iterator<Item = &OutboundRtpStats> {
        self.entries.iter().filter_map(|entry| match entry {
            RtcStats::OutboundRtp(stats) => Some(stats),
            _ => None,
        })
    }
}

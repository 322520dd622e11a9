//! The enumerations of webrtc-pc, with the words that the W3C has for their values.

/// Declares an enum whose values have a W3C word each.
macro_rules! w3c_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$value_meta:meta])* $value:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$value_meta])* $value,)*
        }

        impl $name {
            /// The W3C's word for it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

w3c_enum! {
    /// The state of the whole connection (`RTCPeerConnectionState`): of ICE and DTLS together.
    RtcPeerConnectionState {
        /// Nothing has begun.
        New = "new",
        /// ICE or DTLS is under way.
        Connecting = "connecting",
        /// Both are up.
        Connected = "connected",
        /// The path in use does not answer; it may come back.
        Disconnected = "disconnected",
        /// ICE or DTLS failed. An ICE restart helps against the former.
        Failed = "failed",
        /// `close` was called.
        Closed = "closed",
    }
}

w3c_enum! {
    /// The state of ICE (`RTCIceConnectionState`).
    RtcIceConnectionState {
        /// No remote candidates yet.
        New = "new",
        /// Looking for a path.
        Checking = "checking",
        /// A path works.
        Connected = "connected",
        /// A path works and no better one is looked for.
        Completed = "completed",
        /// The path in use does not answer; it may come back.
        Disconnected = "disconnected",
        /// No path works, or consent to send expired (RFC 7675).
        Failed = "failed",
        /// `close` was called.
        Closed = "closed",
    }
}

w3c_enum! {
    /// Whether candidates are being gathered (`RTCIceGatheringState`).
    RtcIceGatheringState {
        /// Not begun: no local description is set.
        New = "new",
        /// Candidates may come.
        Gathering = "gathering",
        /// None will come, unless ICE restarts.
        Complete = "complete",
    }
}

w3c_enum! {
    /// The state of DTLS (`RTCDtlsTransportState`).
    RtcDtlsTransportState {
        /// Waiting for a path.
        New = "new",
        /// The handshake is under way, or the peer's fingerprint is not known yet.
        Connecting = "connecting",
        /// The handshake is complete and the peer's certificate has a signalled fingerprint.
        Connected = "connected",
        /// Ended by close_notify.
        Closed = "closed",
        /// The handshake failed, or the fingerprint was wrong.
        Failed = "failed",
    }
}

w3c_enum! {
    /// The state of SCTP (`RTCSctpTransportState`).
    RtcSctpTransportState {
        /// Not up yet.
        Connecting = "connecting",
        /// Data channels work.
        Connected = "connected",
        /// Ended.
        Closed = "closed",
    }
}

/// The states that the application was told last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct States {
    pub(crate) ice: RtcIceConnectionState,
    pub(crate) gathering: RtcIceGatheringState,
    pub(crate) connection: RtcPeerConnectionState,
    /// `None` while no data section is negotiated.
    pub(crate) sctp: Option<RtcSctpTransportState>,
}

impl Default for States {
    fn default() -> Self {
        Self {
            ice: RtcIceConnectionState::New,
            gathering: RtcIceGatheringState::New,
            connection: RtcPeerConnectionState::New,
            sctp: None,
        }
    }
}

impl From<antiphon_ice::ConnectionState> for RtcIceConnectionState {
    fn from(state: antiphon_ice::ConnectionState) -> Self {
        use antiphon_ice::ConnectionState as Ice;
        match state {
            Ice::New => Self::New,
            Ice::Checking => Self::Checking,
            Ice::Connected => Self::Connected,
            Ice::Completed => Self::Completed,
            Ice::Disconnected => Self::Disconnected,
            Ice::Failed => Self::Failed,
            Ice::Closed => Self::Closed,
        }
    }
}

impl From<antiphon_ice::GatheringState> for RtcIceGatheringState {
    fn from(state: antiphon_ice::GatheringState) -> Self {
        use antiphon_ice::GatheringState as Ice;
        match state {
            Ice::New => Self::New,
            Ice::Gathering => Self::Gathering,
            Ice::Complete => Self::Complete,
        }
    }
}

impl RtcPeerConnectionState {
    /// The aggregate of webrtc-pc §4.3.3, for our one transport.
    pub(crate) fn aggregate(closed: bool, ice: RtcIceConnectionState, dtls: RtcDtlsTransportState) -> Self {
        use RtcDtlsTransportState as Dtls;
        use RtcIceConnectionState as Ice;
        if closed {
            return Self::Closed;
        }
        match (ice, dtls) {
            (Ice::Failed, _) | (_, Dtls::Failed) => Self::Failed,
            (Ice::Disconnected, _) => Self::Disconnected,
            (Ice::New | Ice::Closed, Dtls::New | Dtls::Closed) => Self::New,
            (Ice::Connected | Ice::Completed, Dtls::Connected | Dtls::Closed) => Self::Connected,
            _ => Self::Connecting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aggregate_of_the_w3c() {
        use RtcDtlsTransportState as Dtls;
        use RtcIceConnectionState as Ice;
        use RtcPeerConnectionState as Pc;
        for (ice, dtls, whole) in [
            (Ice::New, Dtls::New, Pc::New),
            (Ice::Checking, Dtls::New, Pc::Connecting),
            (Ice::Connected, Dtls::New, Pc::Connecting),
            (Ice::Connected, Dtls::Connecting, Pc::Connecting),
            (Ice::Connected, Dtls::Connected, Pc::Connected),
            (Ice::Completed, Dtls::Connected, Pc::Connected),
            (Ice::Disconnected, Dtls::Connected, Pc::Disconnected),
            (Ice::Failed, Dtls::Connected, Pc::Failed),
            (Ice::Connected, Dtls::Failed, Pc::Failed),
            (Ice::Checking, Dtls::Connected, Pc::Connecting),
        ] {
            assert_eq!(Pc::aggregate(false, ice, dtls), whole, "{ice} {dtls}");
            assert_eq!(Pc::aggregate(true, ice, dtls), Pc::Closed);
        }
    }
}

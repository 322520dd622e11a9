//! Data channels: from the data section and DTLS to the association.

use std::time::Instant;

use antiphon_data_channel::{DataChannels, Start};
use antiphon_jsep::DataPlan;
use antiphon_sansio::Packet;

use crate::polled::Polled;
use crate::states::RtcSctpTransportState;

/// How many SCTP packets are held that came before the data section was negotiated: the peer that answers may be faster
/// than its answer. Later ones are dropped, and the peer sends them again.
pub const MAX_EARLY_SCTP_PACKETS: usize = 8;

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Data {
    pub(crate) started: bool,
    pub(crate) channels: Polled<DataChannels>,
    plan: Option<DataPlan>,
    early: Vec<Packet>,
}

impl Data {
    pub(crate) fn new(channels: DataChannels) -> Self {
        Self {
            channels: Polled::new(channels),
            started: false,
            plan: None,
            early: Vec::new(),
        }
    }

    /// What the exchange says of the data section.
    pub(crate) fn apply(&mut self, now: Instant, plan: DataPlan) {
        let ended = self.started && !plan.active;
        self.plan = Some(plan);
        if ended {
            self.channels.abort(now);
        }
    }

    /// Starts the association when both DTLS and the data section allow it.
    pub(crate) fn start(&mut self, now: Instant, role: antiphon_dtls::Role, max_packet: usize, probe_up_to: usize) {
        let Some(plan) = self.plan.as_ref().filter(|plan| plan.active && !self.started) else {
            return;
        };
        self.started = true;
        // RFC 8841 §6.1: 0 means any size.
        let limit = plan
            .remote_max_message_size
            .map_or(0, |bytes| usize::try_from(bytes).unwrap_or(0));
        self.channels.set_max_packet(max_packet);
        self.channels.set_probe_up_to(probe_up_to);
        let start = Start {
            dtls_client: role == antiphon_dtls::Role::Client,
            remote_max_message_size: limit,
            remote_port: plan.remote_port,
        };
        self.channels.start(now, start);
        for packet in std::mem::take(&mut self.early) {
            self.channels.handle_packet(now, packet);
        }
    }

    /// Takes what DTLS decrypted.
    pub(crate) fn handle_packet(&mut self, now: Instant, packet: Packet) {
        if self.started {
            self.channels.handle_packet(now, packet);
        } else if self.early.len() < MAX_EARLY_SCTP_PACKETS {
            self.early.push(packet);
        }
    }

    /// Whether messages travel in I-DATA chunks; `None` without an association.
    pub(crate) fn interleaving(&self) -> Option<bool> {
        let connected = self.state() == Some(RtcSctpTransportState::Connected);
        connected.then(|| self.channels.is_interleaved())
    }

    /// The state of the association. `None` without a data section.
    pub(crate) fn state(&self) -> Option<RtcSctpTransportState> {
        use antiphon_sctp::State;
        let plan = self.plan.as_ref()?;
        Some(match self.channels.association_state() {
            _ if self.channels.end().is_some() => RtcSctpTransportState::Closed,
            State::Closed if self.started => RtcSctpTransportState::Closed,
            State::Closed if !plan.active => RtcSctpTransportState::Closed,
            State::Closed | State::CookieWait | State::CookieEchoed => RtcSctpTransportState::Connecting,
            _ => RtcSctpTransportState::Connected,
        })
    }
}

//! The one transport that everything is bundled on: ICE, and above it DTLS and SRTP.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use antiphon_dtls::{Connected, Connection, Event as DtlsEvent, Fingerprint, Role};
use antiphon_ice::Agent;
use antiphon_jsep::HeaderEncryptionPolicy;
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, Transmit, TransmitBuf};

use crate::header_encryption::HeaderEncryption;
use crate::polled::Polled;
use crate::states::RtcDtlsTransportState;

/// How many datagrams are held that came before they could be taken: DTLS from a path that is not authenticated yet,
/// and SRTP from before the keys. The oldest go first, counted.
pub const MAX_HELD_DATAGRAMS: usize = 64;

/// How many bytes those may have.
pub const MAX_HELD_BYTES: usize = 64 * 1024;

/// Both directions of SRTP.
#[derive(Debug)]
pub(crate) struct Srtp {
    pub(crate) sender: antiphon_srtp::Sender,
    pub(crate) receiver: antiphon_srtp::Receiver,
}

/// Datagrams and bytes above ICE, and what was dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) packets_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) packets_received: u64,
    pub(crate) bytes_received: u64,
    /// First bytes that no protocol of ours has.
    pub(crate) unknown: u64,
    /// From paths without a valid Binding message, or before there were keys, and not held.
    pub(crate) unauthenticated: u64,
    pub(crate) pair_changes: u32,
    /// Packets of ours that the peer has not consented to (RFC 7675 §5.1).
    pub(crate) withheld: u64,
    /// Packets of ours that could not be protected; never in practice.
    pub(crate) unprotected: u64,
}

/// What each packet looks at comes first, side by side.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Transport {
    pub(crate) dtls_state: RtcDtlsTransportState,
    /// Made when there is a transceiver. Boxed: without one it takes no room.
    pub(crate) srtp: Option<Box<Srtp>>,
    pub(crate) counters: Counters,
    pub(crate) agent: Polled<Agent>,
    header_encryption: HeaderEncryption,
    pub(crate) dtls: Option<Polled<Connection>>,
    pub(crate) connected: Option<Box<Connected>>,
    /// Between which two the selected path lies.
    pub(crate) route: Option<(Local, IpAddr)>,
    role: Option<Role>,
    pub(crate) config: antiphon_dtls::Config,
    rng: Rng,
    fingerprints: Vec<Fingerprint>,
    held: VecDeque<Datagram>,
    held_bytes: usize,
    /// Whether something has happened that may let held datagrams pass.
    recheck: bool,
}

impl Transport {
    pub(crate) fn new(
        agent: Agent,
        config: antiphon_dtls::Config,
        header_encryption: HeaderEncryptionPolicy,
        rng: Rng,
    ) -> Self {
        Self {
            agent: Polled::new(agent),
            dtls: None,
            dtls_state: RtcDtlsTransportState::New,
            connected: None,
            srtp: None,
            counters: Counters::default(),
            route: None,
            role: None,
            config,
            header_encryption: HeaderEncryption::new(header_encryption),
            rng,
            fingerprints: Vec::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            recheck: false,
        }
    }

    /// Our DTLS role, once it is known.
    pub(crate) fn role(&self) -> Option<Role> {
        self.role
    }

    pub(crate) fn certificate(&self) -> &antiphon_dtls::Certificate {
        &self.config.certificate
    }

    /// The role that offer and answer have settled. Before that, a ClientHello that came early has made us server; an
    /// answer that says otherwise wins, for then that hello was not the peer's last word.
    pub(crate) fn set_role(&mut self, role: Role) {
        if self.role != Some(role) {
            if self.dtls_state == RtcDtlsTransportState::Connecting {
                self.dtls = None;
                self.dtls_state = RtcDtlsTransportState::New;
            }
            self.role = Some(role);
        }
        self.start_dtls();
    }

    /// RFC 8122 §5: the peer's certificate must have one of these. The handshake may have run by now; DTLS delivers
    /// nothing before it has compared.
    pub(crate) fn set_fingerprints(&mut self, fingerprints: &[antiphon_jsep::Fingerprint]) {
        // One by a hash function that we do not know cannot be compared, but another beside it can.
        self.fingerprints = fingerprints
            .iter()
            .filter_map(|fingerprint| fingerprint.to_string().parse().ok())
            .collect();
        if let Some(dtls) = &mut self.dtls {
            dtls.set_remote_fingerprints(self.fingerprints.clone());
        }
    }

    /// Begins the handshake as soon as the role is known and there is a path to send on. Returns whether it began now.
    pub(crate) fn start_dtls(&mut self) -> bool {
        match self.role {
            Some(role) if self.dtls.is_none() && self.path().is_some() => {
                self.create_dtls(role);
                true
            }
            _ => false,
        }
    }

    fn create_dtls(&mut self, role: Role) {
        let mut dtls = Polled::new(Connection::new(self.config.clone(), role, self.rng.fork("connection")));
        if !self.fingerprints.is_empty() {
            dtls.set_remote_fingerprints(self.fingerprints.clone());
        }
        if let Some(rtt) = self.agent.rtt() {
            dtls.set_rtt(rtt);
        }
        self.dtls = Some(dtls);
        self.dtls_state = RtcDtlsTransportState::Connecting;
        self.recheck = true;
    }

    /// How large the datagrams of the handshake may be.
    pub(crate) fn set_mtu(&mut self, bytes: usize) {
        self.config.mtu = bytes;
        if let Some(dtls) = &mut self.dtls {
            dtls.set_mtu(bytes);
        }
    }

    /// Where datagrams go now, if anywhere (RFC 7675 §5.1).
    pub(crate) fn path(&self) -> Option<Path> {
        self.agent.send_path()
    }

    /// ICE has heard something, or restarted: what was held may pass now, and what passed must be looked up again.
    pub(crate) fn paths_changed(&mut self) {
        self.recheck = !self.held.is_empty();
    }

    pub(crate) fn count_received(&mut self, len: usize) {
        self.counters.packets_received += 1;
        self.counters.bytes_received += len as u64;
    }

    /// Takes a DTLS datagram from an authenticated path. `Err`: not yet, it is given back.
    pub(crate) fn handle_dtls(&mut self, now: Instant, datagram: Datagram) -> Result<(), Datagram> {
        if self.dtls.is_none() {
            if matches!(self.role, None | Some(Role::Server)) {
                // As offerer we said actpass, and the peer may be faster than its answer (RFC 8842 §5.2).
                self.role = Some(Role::Server);
                self.create_dtls(Role::Server);
            } else {
                return Err(datagram);
            }
        }
        self.count_received(datagram.data.len());
        if let Some(dtls) = &mut self.dtls {
            dtls.handle_packet(now, datagram.into());
        }
        Ok(())
    }

    /// Whether DTLS may still become connected for the first time.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(
            self.dtls_state,
            RtcDtlsTransportState::New | RtcDtlsTransportState::Connecting
        )
    }

    /// Keeps a datagram that may be good later.
    pub(crate) fn hold(&mut self, datagram: Datagram) {
        self.held_bytes += datagram.data.len();
        self.held.push_back(datagram);
        while self.held.len() > MAX_HELD_DATAGRAMS || self.held_bytes > MAX_HELD_BYTES {
            if let Some(oldest) = self.held.pop_front() {
                self.held_bytes -= oldest.data.len();
                self.counters.unauthenticated += 1;
            }
        }
    }

    /// What was held, if something has happened since that may let it pass. What still may not is to be held again.
    pub(crate) fn take_held(&mut self) -> VecDeque<Datagram> {
        if !std::mem::take(&mut self.recheck) {
            return VecDeque::new();
        }
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    pub(crate) fn drop_held(&mut self) {
        self.counters.unauthenticated += self.held.len() as u64;
        self.held.clear();
        self.held_bytes = 0;
    }

    pub(crate) fn poll_dtls_event(&mut self) -> Option<DtlsEvent> {
        self.dtls.as_mut()?.aside().poll_event()
    }

    /// DTLS is up.
    pub(crate) fn dtls_connected(&mut self, connected: Box<Connected>) {
        self.connected = Some(connected);
        self.dtls_state = RtcDtlsTransportState::Connected;
        self.recheck = true;
    }

    /// Makes the SRTP contexts from DTLS's keys (RFC 5764 §4.2), as soon as it is up and there is something to protect.
    pub(crate) fn start_srtp(&mut self) {
        if self.srtp.is_some() || self.dtls_state != RtcDtlsTransportState::Connected {
            return;
        }
        let keys = self.connected.as_ref().and_then(|connected| connected.srtp.as_ref());
        self.srtp = keys.and_then(|keys| {
            let profile = antiphon_srtp::Profile::from_code(keys.profile.code())?;
            let provider = self.config.provider;
            let sender =
                antiphon_srtp::Sender::new(profile, keys.local_key.as_bytes(), keys.local_salt.as_bytes(), provider);
            let receiver = antiphon_srtp::Receiver::new(
                profile,
                keys.remote_key.as_bytes(),
                keys.remote_salt.as_bytes(),
                provider,
            );
            // A peer without RTX asks for the same packet again (RFC 4585 §6.2.1), and media repeats it byte for byte. It says of
            // which packets it may.
            let mut sender = sender.ok()?;
            sender.allow_repeats(true);
            sender.set_cryptex(self.header_encryption.sending());
            let mut receiver = receiver.ok()?;
            receiver.set_cryptex(self.header_encryption.receiving());
            Some(Box::new(Srtp { sender, receiver }))
        });
    }

    /// DTLS has ended: nothing is sent or taken any more.
    pub(crate) fn dtls_ended(&mut self, state: RtcDtlsTransportState) {
        self.dtls_state = state;
        self.counters.unauthenticated += self.srtp_dropped();
        self.srtp = None;
        self.drop_held();
    }

    /// RFC 9335 §4: whether the peer takes encrypted header extensions, which from now on are sent so, or are not any
    /// more.
    pub(crate) fn set_header_encryption(&mut self, negotiated: bool) {
        self.header_encryption.set_negotiated(negotiated);
        if let Some(srtp) = &mut self.srtp {
            srtp.sender.set_cryptex(self.header_encryption.sending());
        }
    }

    /// An RTP packet is about to be protected, and `reports` of what we send have come.
    pub(crate) fn doubt_header_encryption(&mut self, now: Instant, reports: u64) {
        if self.header_encryption.gives_up(now, reports)
            && let Some(srtp) = &mut self.srtp
        {
            srtp.sender.set_cryptex(false);
            tracing::warn!(
                "the peer says a=cryptex but reports nothing of what is sent so; header extensions go in the clear"
            );
        }
    }

    pub(crate) fn header_encryption_negotiated(&self) -> bool {
        self.header_encryption.sending()
    }

    /// Undoes SRTP in place. `false`: dropped, and counted by the receiver.
    pub(crate) fn unprotect(&mut self, rtcp: bool, data: &mut BytesMut) -> bool {
        let Some(srtp) = &mut self.srtp else { return false };
        let result = if rtcp {
            srtp.receiver.unprotect_rtcp(data)
        } else {
            srtp.receiver.unprotect_rtp(data)
        };
        result.is_ok()
    }

    /// What SRTP has dropped.
    pub(crate) fn srtp_dropped(&self) -> u64 {
        self.srtp.as_ref().map_or(0, |srtp| srtp.receiver.stats().dropped())
    }

    /// Room that the path and SRTP need, for a segment that may hold RTP or RTCP.
    pub(crate) fn media_room(&self, path: &Path) -> Option<(usize, usize)> {
        let srtp = self.srtp.as_ref()?;
        let (front, back) = self.agent.path_room(path);
        let overhead = srtp.sender.overhead_rtp().max(srtp.sender.overhead_rtcp());
        Some((front, back + overhead))
    }

    /// Room that the path and DTLS need, for a segment that holds SCTP.
    pub(crate) fn data_room(&self, path: &Path) -> Option<(usize, usize)> {
        let dtls = self.dtls.as_ref()?;
        let (front, back) = self.agent.path_room(path);
        let (dtls_front, dtls_back) = dtls.overhead();
        Some((front + dtls_front, back + dtls_back))
    }

    /// Room that a path may need at worst: sizes are chosen before the path is, and it may become a relayed one.
    pub(crate) fn worst_path_room(&self, relays: bool) -> usize {
        let (front, back) = self.path().map_or((0, 0), |path| self.agent.path_room(&path));
        // A Send indication over IPv6: header, XOR-PEER-ADDRESS, DATA and padding (RFC 8656 §11.3).
        const SEND_INDICATION: usize = 20 + 24 + 4 + 3;
        (front + back).max(if relays { SEND_INDICATION } else { 0 })
    }

    /// Hands the open segment to ICE and closes it.
    pub(crate) fn finish(&mut self, now: Instant, path: Path, ecn: Ecn, out: &mut TransmitBuf) -> Transmit {
        self.counters.packets_sent += 1;
        self.counters.bytes_sent += out.body().len() as u64;
        let path = self.agent.aside().wrap(now, path, out);
        Transmit {
            path,
            range: out.finish(),
            segment_size: None,
            ecn,
        }
    }

    /// The next datagram of the handshake, or an alert.
    #[inline]
    pub(crate) fn poll_dtls(&mut self, now: Instant, path: Path, out: &mut TransmitBuf) -> Option<Transmit> {
        if self.dtls.as_ref()?.is_idle(now) {
            return None;
        }
        let (front, back) = self.agent.path_room(&path);
        out.set_path_room(front, back);
        let ecn = self.dtls.as_mut()?.poll(now, |dtls| dtls.poll_transmit(now, out))?;
        Some(self.finish(now, path, ecn, out))
    }
}

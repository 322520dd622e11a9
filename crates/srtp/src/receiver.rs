//! Checking and decrypting what the peer sends.

use std::fmt;

use antiphon_crypto::Provider;
use bytes::BytesMut;

use crate::context::{
    DEFAULT_REPLAY_WINDOW, DEFAULT_RTCP_REPLAY_WINDOW, INDEX_LEN, MAX_REPLAY_WINDOW, MIN_REPLAY_WINDOW, RTCP_CLEAR_LEN,
    ReplayWindow, RtpHeader, Streams, Transform, guess_index, rtcp_ssrc, session,
};
use crate::cryptex::{self, Cryptex};
use crate::elements::ExtensionKey;
use crate::error::Error;
use crate::profile::Profile;

#[derive(Debug)]
struct Stream {
    rtp: ReplayWindow,
    rtcp: ReplayWindow,
}

/// What a [`Receiver`] did with the packets that it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// RTP packets accepted.
    pub rtp: u64,
    /// RTCP packets accepted.
    pub rtcp: u64,
    /// Packets dropped for [`Error::Malformed`].
    pub malformed: u64,
    /// Packets dropped for [`Error::Authentication`].
    pub unauthentic: u64,
    /// Packets dropped for [`Error::Replayed`].
    pub replayed: u64,
    /// Packets dropped for [`Error::Unencrypted`].
    pub unencrypted: u64,
    /// Dropped though authentic: [`Error::TooManySsrcs`].
    pub too_many_ssrcs: u64,
    /// Packets dropped for [`Error::HeaderInClear`].
    pub header_in_clear: u64,
}

impl Stats {
    /// Packets dropped, whatever the reason.
    pub fn dropped(&self) -> u64 {
        self.malformed
            + self.unauthentic
            + self.replayed
            + self.unencrypted
            + self.too_many_ssrcs
            + self.header_in_clear
    }

    fn count(&mut self, error: Error) {
        *match error {
            Error::Authentication => &mut self.unauthentic,
            Error::Replayed => &mut self.replayed,
            Error::Unencrypted => &mut self.unencrypted,
            Error::TooManySsrcs => &mut self.too_many_ssrcs,
            Error::HeaderInClear => &mut self.header_in_clear,
            _ => &mut self.malformed,
        } += 1;
    }
}

/// Checks and decrypts what the peer sends. State for a source begins with its first authentic packet, never before.
pub struct Receiver {
    profile: Profile,
    rtp: Transform,
    rtcp: Transform,
    streams: Streams<Stream>,
    replay_window: u64,
    rtcp_replay_window: u64,
    cryptex: Cryptex,
    extension_key: Option<ExtensionKey>,
    stats: Stats,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("profile", &self.profile)
            .field("ssrcs", &self.streams.len())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

impl Receiver {
    /// Derives the session keys (RFC 3711 §4.3). Copies nothing of the master key; wiping it is the caller's business.
    ///
    /// # Errors
    /// [`Error::MasterKey`] if key or salt have not the profile's length.
    pub fn new(profile: Profile, master_key: &[u8], master_salt: &[u8], provider: Provider) -> Result<Self, Error> {
        let (rtp, rtcp) = session(profile, master_key, master_salt, provider)?;
        Ok(Self::from_session(profile, rtp, rtcp))
    }

    pub(crate) fn from_session(profile: Profile, rtp: Transform, rtcp: Transform) -> Self {
        Self {
            profile,
            rtp,
            rtcp,
            streams: Streams::default(),
            replay_window: DEFAULT_REPLAY_WINDOW,
            rtcp_replay_window: DEFAULT_RTCP_REPLAY_WINDOW,
            cryptex: Cryptex::Off,
            extension_key: None,
            stats: Stats::default(),
        }
    }

    /// Sets the replay window for RTP, in packets, kept between [`MIN_REPLAY_WINDOW`] and [`MAX_REPLAY_WINDOW`], for the
    /// sources that begin from now on. A source costs one bit for each.
    pub fn set_replay_window(&mut self, packets: u64) {
        self.replay_window = packets.clamp(MIN_REPLAY_WINDOW, MAX_REPLAY_WINDOW);
    }

    /// The same for RTCP.
    pub fn set_rtcp_replay_window(&mut self, packets: u64) {
        self.rtcp_replay_window = packets.clamp(MIN_REPLAY_WINDOW, MAX_REPLAY_WINDOW);
    }

    /// What to do about packets with encrypted header extensions and CSRCs (RFC 9335). An opened packet has the tag of RFC 8285
    /// again; an empty extension that only announced encrypted CSRCs stays in it.
    pub fn set_cryptex(&mut self, policy: Cryptex) {
        self.cryptex = policy;
    }

    /// Decrypts the key's header extension elements (RFC 6904) in packets that do not use Cryptex.
    pub fn set_extension_key(&mut self, key: Option<ExtensionKey>) {
        self.extension_key = key;
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Packets accepted, and dropped by reason.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Sources that have state.
    pub fn ssrc_count(&self) -> usize {
        self.streams.len()
    }

    /// Checks and decrypts an SRTP packet in place; `packet` is the RTP packet then.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Replayed`], [`Error::Authentication`], [`Error::TooManySsrcs`] or [`Error::HeaderInClear`].
    /// The packet is counted, its contents are unspecified, and no state has changed: drop it.
    pub fn unprotect_rtp(&mut self, packet: &mut BytesMut) -> Result<(), Error> {
        self.unprotect_rtp_slice(packet).map(|len| packet.truncate(len))
    }

    /// Checks and decrypts an SRTCP packet in place; `packet` is the RTCP packet then.
    ///
    /// # Errors
    /// As [`Self::unprotect_rtp`], and [`Error::Unencrypted`].
    pub fn unprotect_rtcp(&mut self, packet: &mut BytesMut) -> Result<(), Error> {
        self.unprotect_rtcp_slice(packet).map(|len| packet.truncate(len))
    }

    /// Like [`Self::unprotect_rtp`]; the RTP packet is as long as returned.
    ///
    /// # Errors
    /// As [`Self::unprotect_rtp`].
    pub fn unprotect_rtp_slice(&mut self, packet: &mut [u8]) -> Result<usize, Error> {
        let opened = self.open_rtp(packet);
        match opened {
            Ok(_) => self.stats.rtp += 1,
            Err(error) => self.stats.count(error),
        }
        opened
    }

    /// Like [`Self::unprotect_rtcp`]; the RTCP packet is as long as returned.
    ///
    /// # Errors
    /// As [`Self::unprotect_rtcp`].
    pub fn unprotect_rtcp_slice(&mut self, packet: &mut [u8]) -> Result<usize, Error> {
        let opened = self.open_rtcp(packet);
        match opened {
            Ok(_) => self.stats.rtcp += 1,
            Err(error) => self.stats.count(error),
        }
        opened
    }

    /// RFC 3711 §3.3: guess the index, check for replay, authenticate, decrypt, and only then commit.
    fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, Error> {
        let header = RtpHeader::parse(packet)?;
        if packet.len() < header.len + self.rtp.tag_len() {
            return Err(Error::Malformed);
        }
        let cryptex = match self.cryptex {
            Cryptex::Off => None,
            policy => cryptex::before_opening(packet, policy)?,
        };
        let found = self.streams.find(header.ssrc);
        let index = match found {
            Ok(at) => {
                let window = &self.streams.at(at).rtp;
                // Before the first index or after the last there is nothing that could be new.
                let index = guess_index(window.highest(), header.sequence).ok_or(Error::Replayed)?;
                window.check(index)?;
                index
            }
            Err(_) => u64::from(header.sequence),
        };
        let len = match cryptex {
            None => self.rtp.open_rtp(packet, header.len, header.ssrc, index)?,
            Some(csrcs) => self.rtp.open_cryptex(packet, csrcs, header.ssrc, index)?,
        };
        self.stream(found, header.ssrc)?.rtp.mark(index);
        if cryptex.is_some() {
            cryptex::after_opening(packet);
        } else if let Some(key) = &self.extension_key {
            key.apply(packet, &header, index);
        }
        Ok(len)
    }

    /// The state of a source that has sent something authentic.
    #[inline]
    fn stream(&mut self, found: Result<usize, usize>, ssrc: u32) -> Result<&mut Stream, Error> {
        self.streams.room_for(found)?;
        let (rtp, rtcp) = (self.replay_window, self.rtcp_replay_window);
        Ok(self.streams.found_or_new(found, ssrc, || Stream {
            rtp: ReplayWindow::new(rtp),
            rtcp: ReplayWindow::new(rtcp),
        }))
    }

    fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Error> {
        let ssrc = rtcp_ssrc(packet)?;
        if packet.len() < RTCP_CLEAR_LEN + INDEX_LEN + self.rtcp.tag_len() {
            return Err(Error::Malformed);
        }
        let (encrypted, index) = self.rtcp.rtcp_index(packet);
        if !encrypted {
            return Err(Error::Unencrypted);
        }
        let found = self.streams.find(ssrc);
        if let Ok(at) = found {
            self.streams.at(at).rtcp.check(u64::from(index))?;
        }
        let len = self.rtcp.open_rtcp(packet, ssrc, index)?;
        self.stream(found, ssrc)?.rtcp.mark(u64::from(index));
        Ok(len)
    }
}

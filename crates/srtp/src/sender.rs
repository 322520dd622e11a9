//! Protecting what we send.

use std::fmt;

use antiphon_crypto::{Provider, TAG_LEN};
use antiphon_sansio::TransmitBuf;

use crate::context::{
    DEFAULT_REPLAY_WINDOW, EXTENSION_HEADER_LEN, FullTag, MAX_RTCP_INDEX, ReplayWindow, RtpHeader, Streams, Trailer,
    Transform, guess_index, rtcp_ssrc, session,
};
use crate::cryptex;
use crate::elements::ExtensionKey;
use crate::error::Error;
use crate::profile::Profile;

/// How far back a packet may be repeated, in packets of its source, where repeats are allowed.
pub const MAX_REPEAT_AGE: usize = 256;

/// RTP packets that may be protected with one master key, all sources together (RFC 3711 §9.2, RFC 7714 §10).
pub const MAX_RTP_PACKETS: u64 = 1 << 48;
/// The same for RTCP.
pub const MAX_RTCP_PACKETS: u64 = 1 << 31;

#[derive(Debug)]
struct Stream {
    /// Which indices are used up. The same structure as a receiver's, to the opposite end: no index twice.
    rtp: ReplayWindow,
    rtcp_next: u32,
    /// Where repeats are allowed: the first bytes of the latest packets' tags, by index modulo the length.
    tags: Option<Box<[u64; MAX_REPEAT_AGE]>>,
}

impl Stream {
    fn new() -> Self {
        Self {
            rtp: ReplayWindow::new(DEFAULT_REPLAY_WINDOW),
            rtcp_next: 0,
            tags: None,
        }
    }
}

/// Protects what we send: one master key, any number of sources up to [`MAX_SSRCS`](crate::MAX_SSRCS).
// What each packet looks at comes first, side by side.
#[repr(C)]
pub struct Sender {
    rtp: Transform,
    streams: Streams<Stream>,
    rtp_packets: u64,
    profile: Profile,
    repeats: bool,
    cryptex: bool,
    extension_key: Option<ExtensionKey>,
    rtcp: Transform,
    rtcp_packets: u64,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("profile", &self.profile)
            .field("ssrcs", &self.streams.len())
            .finish_non_exhaustive()
    }
}

impl Sender {
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
            repeats: false,
            cryptex: false,
            extension_key: None,
            rtp_packets: 0,
            rtcp_packets: 0,
        }
    }

    /// Encrypts header extensions and CSRCs from now on (RFC 9335). The peer must have said that it takes that (`a=cryptex`).
    ///
    /// Extensions that are not of RFC 8285's kinds stay in the clear, and the CSRCs beside them. A packet with CSRCs and without
    /// extension gets an empty one, which is why [`Self::overhead_rtp`] is four bytes more.
    pub fn set_cryptex(&mut self, on: bool) {
        self.cryptex = on;
    }

    /// Encrypts the key's header extension elements (RFC 6904) in packets that do not use Cryptex.
    pub fn set_extension_key(&mut self, key: Option<ExtensionKey>) {
        self.extension_key = key;
    }

    /// Allows an RTP packet to be sent again under the index that it had: plain retransmission, without RFC 4588. Costs 2 KiB
    /// for each source that sends from then on, unless all its packets are [sent once](Self::protect_rtp_once).
    ///
    /// Only the same packet byte for byte passes, header and extensions included, and not after [`MAX_REPEAT_AGE`] others;
    /// that gives an observer nothing new. Anything else is [`Error::IndexReused`]: another payload under the same index gives
    /// both payloads away, and with GCM another header under the same nonce gives the authentication key away.
    pub fn allow_repeats(&mut self, allow: bool) {
        self.repeats = allow;
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Bytes that [`Self::protect_rtp`] adds, at most.
    pub fn overhead_rtp(&self) -> usize {
        self.profile.overhead_rtp() + if self.cryptex { EXTENSION_HEADER_LEN } else { 0 }
    }

    /// Bytes that [`Self::protect_rtcp`] adds.
    pub fn overhead_rtcp(&self) -> usize {
        self.profile.overhead_rtcp()
    }

    /// Sources that have state.
    pub fn ssrc_count(&self) -> usize {
        self.streams.len()
    }

    /// Protects the RTP packet that is the body of the open segment, in place, and appends the tag.
    ///
    /// A source should begin with a sequence number below 2^15 (RFC 3711 §3.3.1): if its first packets are lost around a
    /// wrap, the receiver cannot know the rollover counter.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what is no RTP packet, [`Error::TooManySsrcs`], [`Error::IndexReused`] for another packet under an
    /// index that was used, [`Error::KeyExhausted`]. Roll the segment back then.
    ///
    /// # Panics
    /// If no segment is open, or it has not [`Self::overhead_rtp`] bytes of room left behind.
    pub fn protect_rtp(&mut self, out: &mut TransmitBuf) -> Result<(), Error> {
        self.protect(out, self.repeats)
    }

    /// The same for a packet that is not sent again as it is, though [repeats are allowed](Self::allow_repeats): nothing is kept of it.
    ///
    /// # Errors
    /// As [`Self::protect_rtp`].
    ///
    /// # Panics
    /// As [`Self::protect_rtp`].
    pub fn protect_rtp_once(&mut self, out: &mut TransmitBuf) -> Result<(), Error> {
        self.protect(out, false)
    }

    #[inline]
    fn protect(&mut self, out: &mut TransmitBuf, is_kept: bool) -> Result<(), Error> {
        if self.cryptex && cryptex::needs_extension(out.body()) {
            out.append(&[0; EXTENSION_HEADER_LEN]);
            cryptex::insert_extension(out.body_mut());
        }
        let tag = self.seal_rtp(out.body_mut(), is_kept)?;
        match self.rtp.tag_len() {
            TAG_LEN => out.append(&tag),
            len => out.append(&tag[..len]),
        }
        Ok(())
    }

    /// Protects the compound RTCP packet that is the body of the open segment, in place, and appends tag and index.
    ///
    /// # Panics
    /// If no segment is open, or it has not [`Self::overhead_rtcp`] bytes of room left behind.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what is no RTCP packet, [`Error::TooManySsrcs`], [`Error::KeyExhausted`]. Roll the segment back then.
    pub fn protect_rtcp(&mut self, out: &mut TransmitBuf) -> Result<(), Error> {
        let trailer = self.seal_rtcp(out.body_mut())?;
        out.append(trailer.as_bytes());
        Ok(())
    }

    /// Protects the RTP packet in the first `len` bytes of `buffer`, in place; the result is as long as returned.
    ///
    /// # Errors
    /// As [`Self::protect_rtp`], and [`Error::NoRoom`].
    pub fn protect_rtp_slice(&mut self, buffer: &mut [u8], mut len: usize) -> Result<usize, Error> {
        let tag_len = self.rtp.tag_len();
        let insert = self.cryptex && buffer.get(..len).is_some_and(cryptex::needs_extension);
        if insert {
            len += EXTENSION_HEADER_LEN;
        }
        let (packet, room) = split(buffer, len, tag_len)?;
        if insert {
            cryptex::insert_extension(packet);
        }
        let tag = self.seal_rtp(packet, self.repeats)?;
        match room.first_chunk_mut() {
            // A length that is known costs less.
            Some(room) if tag_len == TAG_LEN => *room = tag,
            _ => room[..tag_len].copy_from_slice(&tag[..tag_len]),
        }
        Ok(len + tag_len)
    }

    /// Protects the compound RTCP packet in the first `len` bytes of `buffer`, in place; the result is as long as returned.
    ///
    /// # Errors
    /// As [`Self::protect_rtcp`], and [`Error::NoRoom`].
    pub fn protect_rtcp_slice(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Error> {
        let (packet, room) = split(buffer, len, self.overhead_rtcp())?;
        let trailer = self.seal_rtcp(packet)?;
        Ok(len + put(room, &trailer))
    }

    #[inline]
    fn seal_rtp(&mut self, packet: &mut [u8], is_kept: bool) -> Result<FullTag, Error> {
        let header = RtpHeader::parse(packet)?;
        let found = self.streams.find(header.ssrc);
        self.streams.room_for(found)?;
        let stream = self.streams.found_or_new(found, header.ssrc, Stream::new);
        let highest = stream.rtp.highest();
        let index = guess_index(highest, header.sequence).ok_or(Error::KeyExhausted)?;
        if stream.rtp.check(index).is_err() {
            return self.repeat(packet, &header, found, index);
        }
        if self.rtp_packets >= MAX_RTP_PACKETS {
            return Err(Error::KeyExhausted);
        }
        self.rtp_packets += 1;
        stream.rtp.mark(index);
        let tag = encrypt(
            &self.rtp,
            self.cryptex,
            self.extension_key.as_ref(),
            packet,
            &header,
            index,
        )?;
        if is_kept {
            let tags = stream.tags.get_or_insert_with(|| Box::new([0; MAX_REPEAT_AGE]));
            // A late packet must not take the place of a newer one.
            if highest.is_none_or(|highest| index + MAX_REPEAT_AGE as u64 > highest) {
                tags[index as usize % MAX_REPEAT_AGE] = fingerprint(&tag);
            }
        }
        Ok(tag)
    }

    /// A packet under an index that is used up: only what was sent may be sent.
    #[cold]
    fn repeat(
        &mut self,
        packet: &mut [u8],
        header: &RtpHeader,
        found: Result<usize, usize>,
        index: u64,
    ) -> Result<FullTag, Error> {
        let stream = self.streams.found_or_new(found, header.ssrc, Stream::new);
        let highest = stream.rtp.highest();
        let recent = highest.is_some_and(|highest| highest - index < MAX_REPEAT_AGE as u64);
        let place = index as usize % MAX_REPEAT_AGE;
        let sent = stream.tags.as_ref().filter(|_| recent).map(|tags| tags[place]);
        let (true, Some(sent)) = (self.repeats, sent) else {
            return Err(Error::IndexReused);
        };
        let key = self.extension_key.as_ref();
        let tag = encrypt(&self.rtp, self.cryptex, key, packet, header, index)?;
        if fingerprint(&tag) != sent {
            // Ciphertext under a keystream that was used before: it must not leave, not even by mistake.
            packet.fill(0);
            return Err(Error::IndexReused);
        }
        Ok(tag)
    }

    fn seal_rtcp(&mut self, packet: &mut [u8]) -> Result<Trailer, Error> {
        let ssrc = rtcp_ssrc(packet)?;
        let found = self.streams.find(ssrc);
        self.streams.room_for(found)?;
        let stream = self.streams.found_or_new(found, ssrc, Stream::new);
        let index = stream.rtcp_next;
        if index > MAX_RTCP_INDEX || self.rtcp_packets >= MAX_RTCP_PACKETS {
            return Err(Error::KeyExhausted);
        }
        stream.rtcp_next += 1;
        self.rtcp_packets += 1;
        Ok(self.rtcp.seal_rtcp(packet, ssrc, index))
    }

    #[cfg(test)]
    pub(crate) fn keeps_nothing(&mut self) -> bool {
        (0..self.streams.len()).all(|at| self.streams.at(at).tags.is_none())
    }

    #[cfg(test)]
    pub(crate) fn set_packets(&mut self, rtp: u64, rtcp: u64) {
        (self.rtp_packets, self.rtcp_packets) = (rtp, rtcp);
    }

    #[cfg(test)]
    pub(crate) fn set_indices(&mut self, ssrc: u32, rtp: Option<u64>, rtcp: u32) {
        let found = self.streams.find(ssrc);
        let stream = self.streams.found_or_new(found, ssrc, Stream::new);
        if let Some(index) = rtp {
            stream.rtp.mark(index);
        }
        stream.rtcp_next = rtcp;
    }
}

/// Encrypts in place what is to be encrypted of header and payload, and gives the tag.
#[inline(always)]
fn encrypt(
    transform: &Transform,
    cryptex: bool,
    extension_key: Option<&ExtensionKey>,
    packet: &mut [u8],
    header: &RtpHeader,
    index: u64,
) -> Result<FullTag, Error> {
    if cryptex && let Some(csrcs) = cryptex::before_sealing(packet)? {
        return Ok(transform.seal_cryptex(packet, csrcs, header.ssrc, index));
    }
    if let Some(key) = extension_key {
        key.apply(packet, header, index);
    }
    Ok(transform.seal_rtp(packet, header.len, header.ssrc, index))
}

/// The first bytes of the tag: enough to tell one packet of ours from another.
fn fingerprint(tag: &FullTag) -> u64 {
    tag.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

fn split(buffer: &mut [u8], len: usize, overhead: usize) -> Result<(&mut [u8], &mut [u8]), Error> {
    match buffer.split_at_mut_checked(len) {
        Some((packet, room)) if room.len() >= overhead => Ok((packet, room)),
        _ => Err(Error::NoRoom),
    }
}

fn put(room: &mut [u8], trailer: &Trailer) -> usize {
    let bytes = trailer.as_bytes();
    room[..bytes.len()].copy_from_slice(bytes);
    bytes.len()
}

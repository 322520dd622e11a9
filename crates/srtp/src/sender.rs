use std::fmt;

use antiphon_crypto::Provider;
use antiphon_sansio::TransmitBuf;

use crate::error::Error;
use crate::header::{RtpHeader, rtcp_ssrc};
use crate::profile::Profile;
use crate::replay::{MAX_REPLAY_WINDOW, ReplayWindow, guess_index};
use crate::streams::Streams;
use crate::transform::{MAX_RTCP_INDEX, Trailer, Transform, session};

/// How far back a packet may be repeated, in packets of its source, where repeats are allowed.
pub const MAX_REPEAT_AGE: usize = 256;

#[derive(Debug, Default)]
struct Stream {
    /// Which indices are used up. The same structure as a receiver's, to the opposite end: no index twice.
    rtp: ReplayWindow<16>,
    rtcp_next: u32,
    /// Where repeats are allowed: the first bytes of the latest packets' tags, by index modulo the length.
    tags: Option<Box<[u64; MAX_REPEAT_AGE]>>,
}

/// Protects what we send: one master key, any number of sources up to [`MAX_SSRCS`](crate::MAX_SSRCS).
pub struct Sender {
    profile: Profile,
    rtp: Transform,
    rtcp: Transform,
    streams: Streams<Stream>,
    repeats: bool,
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
    pub fn new(profile: Profile, master_key: &[u8], master_salt: &[u8], provider: Provider) -> Result<Self, Error> {
        let (rtp, rtcp) = session(profile, master_key, master_salt, provider)?;
        Ok(Self {
            profile,
            rtp,
            rtcp,
            streams: Streams::default(),
            repeats: false,
        })
    }

    /// Allows an RTP packet to be sent again under the index that it had: plain retransmission, without RFC 4588. Costs 2 KiB
    /// for each source that sends from then on.
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

    /// Bytes that [`Self::protect_rtp`] adds.
    pub fn overhead_rtp(&self) -> usize {
        self.profile.overhead_rtp()
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
    /// wrap, the receiver cannot know the rollover counter. After an error roll the segment back.
    ///
    /// # Panics
    /// If no segment is open, or it has not [`Self::overhead_rtp`] bytes of room left behind.
    pub fn protect_rtp(&mut self, out: &mut TransmitBuf) -> Result<(), Error> {
        let trailer = self.seal_rtp(out.body_mut())?;
        out.append(trailer.as_bytes());
        Ok(())
    }

    /// Protects the compound RTCP packet that is the body of the open segment, in place, and appends tag and index.
    ///
    /// # Panics
    /// If no segment is open, or it has not [`Self::overhead_rtcp`] bytes of room left behind.
    pub fn protect_rtcp(&mut self, out: &mut TransmitBuf) -> Result<(), Error> {
        let trailer = self.seal_rtcp(out.body_mut())?;
        out.append(trailer.as_bytes());
        Ok(())
    }

    /// Protects the RTP packet in the first `len` bytes of `buffer`, in place; the result is as long as returned.
    pub fn protect_rtp_slice(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Error> {
        let (packet, room) = split(buffer, len, self.overhead_rtp())?;
        let trailer = self.seal_rtp(packet)?;
        Ok(len + put(room, &trailer))
    }

    /// Protects the compound RTCP packet in the first `len` bytes of `buffer`, in place; the result is as long as returned.
    pub fn protect_rtcp_slice(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Error> {
        let (packet, room) = split(buffer, len, self.overhead_rtcp())?;
        let trailer = self.seal_rtcp(packet)?;
        Ok(len + put(room, &trailer))
    }

    fn seal_rtp(&mut self, packet: &mut [u8]) -> Result<Trailer, Error> {
        let header = RtpHeader::parse(packet)?;
        let found = self.streams.find(header.ssrc);
        self.streams.room_for(found)?;
        let stream = self.streams.found_or_new(found, header.ssrc);
        let highest = stream.rtp.highest();
        let index = guess_index(highest, header.sequence).ok_or(Error::KeyExhausted)?;
        let fresh = stream.rtp.check(index, MAX_REPLAY_WINDOW).is_ok();
        let place = index as usize % MAX_REPEAT_AGE;
        if !fresh {
            let recent = highest.is_some_and(|highest| highest - index < MAX_REPEAT_AGE as u64);
            let tag = stream.tags.as_ref().filter(|_| recent).map(|tags| tags[place]);
            let (true, Some(tag)) = (self.repeats, tag) else {
                return Err(Error::IndexReused);
            };
            let trailer = self.rtp.seal_rtp(packet, header.len, header.ssrc, index);
            if trailer.fingerprint() != tag {
                // Ciphertext under a keystream that was used before: it must not leave, not even by mistake.
                packet.fill(0);
                return Err(Error::IndexReused);
            }
            return Ok(trailer);
        }
        stream.rtp.mark(index);
        let trailer = self.rtp.seal_rtp(packet, header.len, header.ssrc, index);
        if self.repeats {
            let tags = stream.tags.get_or_insert_with(|| Box::new([0; MAX_REPEAT_AGE]));
            // A late packet must not take the place of a newer one.
            if highest.is_none_or(|highest| index + MAX_REPEAT_AGE as u64 > highest) {
                tags[place] = trailer.fingerprint();
            }
        }
        Ok(trailer)
    }

    fn seal_rtcp(&mut self, packet: &mut [u8]) -> Result<Trailer, Error> {
        let ssrc = rtcp_ssrc(packet)?;
        let found = self.streams.find(ssrc);
        self.streams.room_for(found)?;
        let stream = self.streams.found_or_new(found, ssrc);
        let index = stream.rtcp_next;
        if index > MAX_RTCP_INDEX {
            return Err(Error::KeyExhausted);
        }
        stream.rtcp_next += 1;
        Ok(self.rtcp.seal_rtcp(packet, ssrc, index))
    }

    #[cfg(test)]
    pub(crate) fn from_session(profile: Profile, rtp: Transform, rtcp: Transform) -> Self {
        Self {
            profile,
            rtp,
            rtcp,
            streams: Streams::default(),
            repeats: false,
        }
    }

    #[cfg(test)]
    pub(crate) fn set_indices(&mut self, ssrc: u32, rtp: Option<u64>, rtcp: u32) {
        let found = self.streams.find(ssrc);
        let stream = self.streams.found_or_new(found, ssrc);
        if let Some(index) = rtp {
            stream.rtp.mark(index);
        }
        stream.rtcp_next = rtcp;
    }
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

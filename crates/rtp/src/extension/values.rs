//! The extensions of one packet, read and written in one pass.

use antiphon_sansio::{Full, Writer};

use super::elements::{Block, EXTENSION_HEADER_LEN, Misfit, ONE_BYTE, ONE_BYTE_ONLY, ONE_BYTE_PROFILE, TWO_BYTE};
use super::{AbsCaptureTime, AudioLevel, Elements, FeedbackRequest, Kind, Map, Others, PlayoutDelay, VideoOrientation};

/// The extensions of one packet that are understood, borrowed from it.
///
/// Read by [`Packet::values`](crate::packet::Packet::values), written by [`Header::write`](crate::packet::Header::write).
/// An element whose length does not fit its kind is left out, as if unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values<'a> {
    /// The media section ([`Kind::Mid`]): the bytes of its text, which are only compared. Never empty.
    pub mid: Option<&'a [u8]>,
    /// The encoding ([`Kind::Rid`]): the bytes of its text, as [`Rid::new`](crate::Rid::new) takes them. Never empty.
    pub rid: Option<&'a [u8]>,
    /// The encoding that this stream repairs ([`Kind::RepairedRid`]), in the same form.
    pub repaired_rid: Option<&'a [u8]>,
    /// The transport-wide number ([`Kind::TransportCc`] or [`Kind::TransportCc2`]).
    pub transport_sequence: Option<u16>,
    /// A wish for feedback ([`Kind::TransportCc2`]).
    pub feedback_request: Option<FeedbackRequest>,
    /// [`Kind::AbsSendTime`]: 24 bits, units of 2^-18 s.
    pub abs_send_time: Option<u32>,
    /// How loud the sound is ([`Kind::AudioLevel`]).
    pub audio_level: Option<AudioLevel>,
    /// [`Kind::CsrcAudioLevel`]: one byte a source, in the order of the CSRC list.
    pub csrc_audio_levels: Option<&'a [u8]>,
    /// [`Kind::TransmissionOffset`]: RTP timestamp units, 24 bits signed.
    pub transmission_offset: Option<i32>,
    /// How the picture is to be turned ([`Kind::VideoOrientation`]).
    pub video_orientation: Option<VideoOrientation>,
    /// When the picture is to be shown ([`Kind::PlayoutDelay`]).
    pub playout_delay: Option<PlayoutDelay>,
    /// When the frame was captured ([`Kind::AbsCaptureTime`]).
    pub abs_capture_time: Option<AbsCaptureTime>,
    /// Every other extension that is known, as it came.
    pub others: Others<'a>,
}

impl<'a> Values<'a> {
    /// Takes all elements in that `map` knows, in one pass. This runs for each packet: a function of its own writes each field where it
    /// stays, instead of carrying all of them through the loop, and looks at the form once, not at each element.
    #[inline(never)]
    pub(crate) fn take_all(&mut self, profile: u16, block: &'a [u8], map: &Map) {
        if profile != ONE_BYTE_PROFILE {
            return self.take_all_two_byte(profile, block, map);
        }
        let mut rest = block;
        while let Some((id, data)) = Elements::take(&mut rest, false) {
            if let Some(kind) = map.low_kind(id) {
                self.take(kind, block, data);
            }
        }
    }

    /// Few packets have the two-byte form.
    #[cold]
    fn take_all_two_byte(&mut self, profile: u16, block: &'a [u8], map: &Map) {
        for (id, data) in Elements::new(profile, block) {
            if let Some(kind) = map.kind(id) {
                self.take(kind, block, data);
            }
        }
    }

    /// Takes one element in. Anything that does not fit its kind is ignored.
    #[inline(always)]
    fn take(&mut self, kind: Kind, block: &'a [u8], data: &'a [u8]) {
        match (kind, data) {
            (Kind::Mid, &[_, ..]) => self.mid = Some(data),
            (Kind::Rid, &[_, ..]) => self.rid = Some(data),
            (Kind::RepairedRid, &[_, ..]) => self.repaired_rid = Some(data),
            (Kind::TransportCc, &[a, b]) => self.transport_sequence = Some(u16::from_be_bytes([a, b])),
            (Kind::TransportCc2, &[a, b, ref request @ ..]) => {
                self.transport_sequence = Some(u16::from_be_bytes([a, b]));
                if let &[c, d] = request {
                    self.feedback_request = FeedbackRequest::from_bits(u16::from_be_bytes([c, d]));
                }
            }
            (Kind::AbsSendTime, &[a, b, c]) => self.abs_send_time = Some(u24([a, b, c])),
            (Kind::AudioLevel, &[level, ..]) => {
                self.audio_level = Some(AudioLevel::from_bits(level));
            }
            (Kind::CsrcAudioLevel, &[_, ..]) => self.csrc_audio_levels = Some(data),
            (Kind::TransmissionOffset, &[a, b, c]) => {
                self.transmission_offset = Some(((u24([a, b, c]) << 8) as i32) >> 8);
            }
            (Kind::VideoOrientation, &[bits]) => {
                self.video_orientation = Some(VideoOrientation::from_bits(bits));
            }
            (Kind::PlayoutDelay, &[a, b, c]) => {
                self.playout_delay = Some(PlayoutDelay::from_bits(u24([a, b, c])));
            }
            (Kind::AbsCaptureTime, _) => {
                if let Some(time) = AbsCaptureTime::from_bytes(data) {
                    self.abs_capture_time = Some(time);
                }
            }
            _ => self.others.note(kind, block, data),
        }
    }

    /// Puts every element that `map` has an identifier for.
    #[inline]
    fn put<const FORM: u8>(&self, map: &Map, block: &mut Block<'_, FORM>) -> Result<(), Misfit> {
        let id = |kind| map.id(kind);
        if let (Some(mid), Some(id)) = (self.mid, id(Kind::Mid)) {
            block.bytes(id, mid)?;
        }
        if let (Some(rid), Some(id)) = (self.rid, id(Kind::Rid)) {
            block.bytes(id, rid)?;
        }
        if let (Some(rid), Some(id)) = (self.repaired_rid, id(Kind::RepairedRid)) {
            block.bytes(id, rid)?;
        }
        if let Some(sequence) = self.transport_sequence {
            let [a, b] = sequence.to_be_bytes();
            match (id(Kind::TransportCc), id(Kind::TransportCc2), self.feedback_request) {
                (Some(id), _, _) | (None, Some(id), None) => block.array(id, [a, b])?,
                (None, Some(id), Some(request)) => {
                    let [c, d] = request.bits().to_be_bytes();
                    block.array(id, [a, b, c, d])?;
                }
                (None, None, _) => {}
            }
        }
        if let (Some(time), Some(id)) = (self.abs_send_time, id(Kind::AbsSendTime)) {
            let [_, time @ ..] = time.to_be_bytes();
            block.array(id, time)?;
        }
        if let (Some(level), Some(id)) = (self.audio_level, id(Kind::AudioLevel)) {
            block.array(id, [level.bits()])?;
        }
        if let (Some(levels), Some(id)) = (self.csrc_audio_levels, id(Kind::CsrcAudioLevel)) {
            block.bytes(id, levels)?;
        }
        if let (Some(offset), Some(id)) = (self.transmission_offset, id(Kind::TransmissionOffset)) {
            let [_, offset @ ..] = offset.to_be_bytes();
            block.array(id, offset)?;
        }
        if let (Some(video), Some(id)) = (self.video_orientation, id(Kind::VideoOrientation)) {
            block.array(id, [video.bits()])?;
        }
        if let (Some(delay), Some(id)) = (self.playout_delay, id(Kind::PlayoutDelay)) {
            let [_, bits @ ..] = delay.bits().to_be_bytes();
            block.array(id, bits)?;
        }
        if let (Some(time), Some(id)) = (self.abs_capture_time, id(Kind::AbsCaptureTime)) {
            match time.clock_offset {
                None => block.array(id, time.capture.to_be_bytes())?,
                Some(offset) => {
                    let both = u128::from(time.capture) << 64 | u128::from(offset as u64);
                    block.array(id, both.to_be_bytes())?;
                }
            }
        }
        for (kind, data) in self.others.iter() {
            if let Some(id) = id(kind) {
                block.bytes(id, data)?;
            }
        }
        Ok(())
    }

    /// Writes the whole extension block, its header included; nothing if there is no element. Takes the one-byte form, unless an
    /// identifier or a length needs the two-byte form and the map allows it (RFC 8285 §4.1.2). Returns whether a block was written.
    #[inline]
    pub(crate) fn write(&self, map: &Map, out: &mut Writer<'_>) -> Result<bool, Full> {
        let start = out.len();
        match self.write_form::<ONE_BYTE>(map, out) {
            Err(Misfit::Form) => {
                out.truncate(start);
                self.write_misfits(map, out)
            }
            written => written,
        }
        .map_err(|_| Full)
    }

    /// Where the one-byte form does not do: few packets, so they are kept out of the way of the others.
    #[cold]
    fn write_misfits(&self, map: &Map, out: &mut Writer<'_>) -> Result<bool, Misfit> {
        if map.is_one_byte_only() {
            self.write_form::<ONE_BYTE_ONLY>(map, out)
        } else {
            self.write_form::<TWO_BYTE>(map, out)
        }
    }

    #[inline]
    fn write_form<const FORM: u8>(&self, map: &Map, out: &mut Writer<'_>) -> Result<bool, Misfit> {
        let (start, free) = (out.len(), out.free());
        let mut block = Block::<FORM> {
            room: out.reserve(free).map_err(|_| Misfit::Full)?,
            len: EXTENSION_HEADER_LEN,
        };
        self.put(map, &mut block)?;
        let len = match block.len {
            EXTENSION_HEADER_LEN => 0,
            _ => block.close()?,
        };
        out.truncate(start + len);
        Ok(len > 0)
    }
}

fn u24(data: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, data[0], data[1], data[2]])
}

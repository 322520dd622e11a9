//! Header extensions: which identifier means what ([`Map`]), and their values ([`Values`]).

use antiphon_sansio::{Full, Writer};

/// The header extensions that are understood here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Media identification (RFC 9143 §15.2).
    Mid,
    /// RTP stream id (RFC 8852 §4.3).
    Rid,
    /// The stream id that this stream repairs (RFC 8852 §4.4).
    RepairedRid,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).
    TransportCc,
    /// The same with a feedback request (version 02 of the extension).
    TransportCc2,
    /// When the packet left, 6.18 seconds.
    AbsSendTime,
    /// Loudness of the sound in the packet (RFC 6464).
    AudioLevel,
    /// Loudness of each contributing source (RFC 6465).
    CsrcAudioLevel,
    /// Transmission time offset (RFC 5450).
    TransmissionOffset,
    /// Coordination of video orientation (3GPP TS 26.114).
    VideoOrientation,
    /// Wished bounds of the playout delay.
    PlayoutDelay,
    /// When the frame was captured, NTP.
    AbsCaptureTime,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::TransportCc,
        Self::TransportCc2,
        Self::AbsSendTime,
        Self::AudioLevel,
        Self::CsrcAudioLevel,
        Self::TransmissionOffset,
        Self::VideoOrientation,
        Self::PlayoutDelay,
        Self::AbsCaptureTime,
    ];

    /// The URI that names it in `a=extmap` (RFC 8285 §5).
    pub fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            Self::TransportCc2 => "http://www.webrtc.org/experiments/rtp-hdrext/transport-wide-cc-02",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::CsrcAudioLevel => "urn:ietf:params:rtp-hdrext:csrc-audio-level",
            Self::TransmissionOffset => "urn:ietf:params:rtp-hdrext:toffset",
            Self::VideoOrientation => "urn:3gpp:video-orientation",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::AbsCaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
        }
    }

    /// The extension that a URI names, if it is one of these.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

/// Which identifier stands for which extension, as negotiated for one media section (RFC 8285 §5).
#[derive(Clone, PartialEq, Eq)]
pub struct Map {
    kinds: [Option<Kind>; 256],
    ids: [u8; Kind::ALL.len()],
}

impl Default for Map {
    fn default() -> Self {
        Self {
            kinds: [None; 256],
            ids: [0; Kind::ALL.len()],
        }
    }
}

impl std::fmt::Debug for Map {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Map {
    /// Lets `id` stand for `kind`. Id 0 is padding and id 15 is no identifier in the one-byte form (RFC 8285 §4.2); both
    /// are ignored. An extension that is mapped twice keeps being read under both and is written under the later one.
    pub fn insert(&mut self, id: u8, kind: Kind) {
        if id != 0 && id != 15 {
            self.kinds[usize::from(id)] = Some(kind);
            self.ids[kind as usize] = id;
        }
    }

    /// Like [`Self::insert`] by URI. Returns whether the extension is known here.
    pub fn insert_uri(&mut self, id: u8, uri: &str) -> bool {
        let kind = Kind::from_uri(uri);
        if let Some(kind) = kind {
            self.insert(id, kind);
        }
        kind.is_some()
    }

    /// Makes an extension unknown again.
    pub fn remove(&mut self, kind: Kind) {
        self.ids[kind as usize] = 0;
        for slot in &mut self.kinds {
            if *slot == Some(kind) {
                *slot = None;
            }
        }
    }

    /// What `id` stands for.
    #[inline]
    pub fn kind(&self, id: u8) -> Option<Kind> {
        self.kinds[usize::from(id)]
    }

    /// The identifier of `kind`.
    #[inline]
    pub fn id(&self, kind: Kind) -> Option<u8> {
        match self.ids[kind as usize] {
            0 => None,
            id => Some(id),
        }
    }

    /// All identifiers and what they stand for.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Kind)> + '_ {
        (0..=255u8).filter_map(|id| self.kind(id).map(|kind| (id, kind)))
    }
}

/// Loudness of one source (RFC 6464 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudioLevel {
    /// Decibels below overload, 0 (loudest) to 127 (silence).
    pub below_overload: u8,
    /// Whether the sender believes that it is speech.
    pub voice: bool,
}

/// A request in [`Kind::TransportCc2`]: feedback on this packet and `count - 1` before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedbackRequest {
    /// Whether the feedback shall carry arrival times.
    pub timestamps: bool,
    /// How many packets, 15 bits.
    pub count: u16,
}

/// Camera orientation (3GPP TS 26.114 §7.4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoOrientation {
    /// Whether it is the camera at the back.
    pub back_camera: bool,
    /// Whether the picture is mirrored.
    pub flipped: bool,
    /// Clockwise quarter turns to apply, 0 to 3.
    pub quarter_turns: u8,
}

/// Wished bounds of the playout delay, in units of 10 ms, 12 bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// The least delay, in units of 10 ms, 0 to 4095.
    pub min: u16,
    /// The greatest delay, in units of 10 ms, 0 to 4095.
    pub max: u16,
}

/// When the frame was captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbsCaptureTime {
    /// NTP time by the capturer's clock, 32.32 seconds.
    pub capture: u64,
    /// The sender's estimate of its clock's offset to the capturer's, 32.32 seconds, signed.
    pub clock_offset: Option<i64>,
}

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
}

/// The extensions of a packet that speak of its media, not of the hop that it came by: what a forwarder carries on, under the
/// identifiers of the next hop. Identification (MID, RID), numbering and send times are each hop's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// How loud the sound is ([`Kind::AudioLevel`]).
    pub audio_level: Option<AudioLevel>,
    /// How the picture is to be turned ([`Kind::VideoOrientation`]).
    pub video_orientation: Option<VideoOrientation>,
    /// When the picture is to be shown ([`Kind::PlayoutDelay`]).
    pub playout_delay: Option<PlayoutDelay>,
    /// [`Kind::AbsCaptureTime`], the capture time alone: the clock offset beside it is that of the sender before us to the
    /// capturer, which says nothing of ours.
    pub capture_time: Option<u64>,
}

impl Carried {
    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.audio_level.is_none()
            && self.video_orientation.is_none()
            && self.playout_delay.is_none()
            && self.capture_time.is_none()
    }

    /// What of `values` goes on.
    #[inline]
    pub fn of(values: &Values<'_>) -> Self {
        Self {
            audio_level: values.audio_level,
            video_orientation: values.video_orientation,
            playout_delay: values.playout_delay,
            capture_time: values.abs_capture_time.map(|time| time.capture),
        }
    }

    /// Sets these in `values`.
    #[inline]
    pub fn put(&self, values: &mut Values<'_>) {
        values.audio_level = self.audio_level;
        values.video_orientation = self.video_orientation;
        values.playout_delay = self.playout_delay;
        values.abs_capture_time = self.capture_time.map(|capture| AbsCaptureTime {
            capture,
            clock_offset: None,
        });
    }
}

/// Longest value written here; longer ones are left out (the two-byte form could carry 255).
const MAX_VALUE: usize = 255;

fn u24(data: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, data[0], data[1], data[2]])
}

impl<'a> Values<'a> {
    /// Takes one element in. Anything that does not fit its kind is ignored.
    #[inline]
    pub(crate) fn take(&mut self, kind: Kind, data: &'a [u8]) {
        match (kind, data) {
            (Kind::Mid, &[_, ..]) => self.mid = Some(data),
            (Kind::Rid, &[_, ..]) => self.rid = Some(data),
            (Kind::RepairedRid, &[_, ..]) => self.repaired_rid = Some(data),
            (Kind::TransportCc, &[a, b]) => self.transport_sequence = Some(u16::from_be_bytes([a, b])),
            (Kind::TransportCc2, &[a, b, ref request @ ..]) => {
                self.transport_sequence = Some(u16::from_be_bytes([a, b]));
                if let &[c, d] = request {
                    let bits = u16::from_be_bytes([c, d]);
                    if bits & 0x7fff != 0 {
                        self.feedback_request = Some(FeedbackRequest {
                            timestamps: bits & 0x8000 != 0,
                            count: bits & 0x7fff,
                        });
                    }
                }
            }
            (Kind::AbsSendTime, &[a, b, c]) => self.abs_send_time = Some(u24([a, b, c])),
            (Kind::AudioLevel, &[level, ..]) => {
                self.audio_level = Some(AudioLevel {
                    below_overload: level & 0x7f,
                    voice: level & 0x80 != 0,
                });
            }
            (Kind::CsrcAudioLevel, &[_, ..]) => self.csrc_audio_levels = Some(data),
            (Kind::TransmissionOffset, &[a, b, c]) => {
                self.transmission_offset = Some(((u24([a, b, c]) << 8) as i32) >> 8);
            }
            (Kind::VideoOrientation, &[bits]) => {
                self.video_orientation = Some(VideoOrientation {
                    back_camera: bits & 0b1000 != 0,
                    flipped: bits & 0b0100 != 0,
                    quarter_turns: bits & 0b0011,
                });
            }
            (Kind::PlayoutDelay, &[a, b, c]) => {
                let bits = u24([a, b, c]);
                self.playout_delay = Some(PlayoutDelay {
                    min: (bits >> 12) as u16,
                    max: (bits & 0xfff) as u16,
                });
            }
            (Kind::AbsCaptureTime, _) => {
                let Some((capture, rest)) = data.split_first_chunk::<8>() else {
                    return;
                };
                if !matches!(rest.len(), 0 | 8) {
                    return;
                }
                self.abs_capture_time = Some(AbsCaptureTime {
                    capture: u64::from_be_bytes(*capture),
                    clock_offset: rest.first_chunk::<8>().map(|offset| i64::from_be_bytes(*offset)),
                });
            }
            _ => {}
        }
    }

    /// Puts every element that `map` has an identifier for.
    #[inline]
    fn put<const TWO_BYTE: bool>(&self, map: &Map, block: &mut Block<'_, TWO_BYTE>) -> Result<(), Misfit> {
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
                    let bits = u16::from(request.timestamps) << 15 | request.count & 0x7fff;
                    let [c, d] = bits.to_be_bytes();
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
            block.array(id, [u8::from(level.voice) << 7 | level.below_overload & 0x7f])?;
        }
        if let (Some(levels), Some(id)) = (self.csrc_audio_levels, id(Kind::CsrcAudioLevel)) {
            block.bytes(id, levels)?;
        }
        if let (Some(offset), Some(id)) = (self.transmission_offset, id(Kind::TransmissionOffset)) {
            let [_, offset @ ..] = offset.to_be_bytes();
            block.array(id, offset)?;
        }
        if let (Some(video), Some(id)) = (self.video_orientation, id(Kind::VideoOrientation)) {
            let bits = u8::from(video.back_camera) << 3 | u8::from(video.flipped) << 2 | video.quarter_turns & 3;
            block.array(id, [bits])?;
        }
        if let (Some(delay), Some(id)) = (self.playout_delay, id(Kind::PlayoutDelay)) {
            let bits = u32::from(delay.min & 0xfff) << 12 | u32::from(delay.max & 0xfff);
            let [_, bits @ ..] = bits.to_be_bytes();
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
        Ok(())
    }

    /// Writes the whole extension block, its header included; nothing if there is no element. Takes the one-byte form,
    /// unless an identifier or a length needs the two-byte form (RFC 8285 §4.1.2). Returns whether a block was written.
    #[inline]
    pub(crate) fn write(&self, map: &Map, out: &mut Writer<'_>) -> Result<bool, Full> {
        let start = out.len();
        match self.write_form::<false>(map, out) {
            Err(Misfit::Form) => {
                out.truncate(start);
                self.write_form::<true>(map, out)
            }
            written => written,
        }
        .map_err(|_| Full)
    }

    #[inline]
    fn write_form<const TWO_BYTE: bool>(&self, map: &Map, out: &mut Writer<'_>) -> Result<bool, Misfit> {
        let (start, free) = (out.len(), out.free());
        let mut block = Block::<TWO_BYTE> {
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

/// Bytes before the elements: the profile and the length.
const EXTENSION_HEADER_LEN: usize = 4;

/// Why elements cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misfit {
    /// The one-byte form cannot carry one of them.
    Form,
    /// There is no room.
    Full,
}

/// An extension block that is being written: behind its header the elements so far, in one of the two forms of RFC 8285.
struct Block<'a, const TWO_BYTE: bool> {
    room: &'a mut [u8],
    len: usize,
}

impl<const TWO_BYTE: bool> Block<'_, TWO_BYTE> {
    /// The place of an element's data, behind its identifier and length.
    #[inline]
    fn place(&mut self, id: u8, len: usize) -> Result<&mut [u8], Misfit> {
        let head = if TWO_BYTE { 2 } else { 1 };
        // RFC 8285 §4.2: the one-byte form has identifiers 1 to 14 and 1 to 16 bytes of data.
        if !TWO_BYTE && (id > 14 || len > 16) {
            return Err(Misfit::Form);
        }
        let end = self.len + head + len;
        let element = self.room.get_mut(self.len..end).ok_or(Misfit::Full)?;
        self.len = end;
        let (first, data) = element.split_at_mut(head);
        match first {
            [first] => *first = id << 4 | (len - 1) as u8,
            [first, second] => (*first, *second) = (id, len as u8),
            _ => {}
        }
        Ok(data)
    }

    /// An element of a length that the compiler knows.
    #[inline]
    fn array<const N: usize>(&mut self, id: u8, data: [u8; N]) -> Result<(), Misfit> {
        self.place(id, N)?.copy_from_slice(&data);
        Ok(())
    }

    /// An element of any length; one that is empty, or too long for either form, is left out.
    #[inline]
    fn bytes(&mut self, id: u8, data: &[u8]) -> Result<(), Misfit> {
        if data.is_empty() || data.len() > MAX_VALUE {
            return Ok(());
        }
        let place = self.place(id, data.len())?;
        // Identifiers of one character are what most peers use.
        match (&mut *place, data) {
            ([place], [data]) => *place = *data,
            (place, data) => place.copy_from_slice(data),
        }
        Ok(())
    }

    /// Pads the elements to whole words and writes the header; gives the length of all.
    #[inline]
    fn close(self) -> Result<usize, Misfit> {
        let words = (self.len - EXTENSION_HEADER_LEN).div_ceil(4);
        let len = EXTENSION_HEADER_LEN + words * 4;
        let padding = self.room.get_mut(self.len..len).ok_or(Misfit::Full)?;
        padding.iter_mut().for_each(|byte| *byte = 0);
        let profile: u16 = if TWO_BYTE { 0x1000 } else { 0xbede };
        let [head @ .., high, low] = self
            .room
            .first_chunk_mut::<EXTENSION_HEADER_LEN>()
            .ok_or(Misfit::Full)?;
        *head = profile.to_be_bytes();
        [*high, *low] = (words as u16).to_be_bytes();
        Ok(len)
    }
}

/// Walks the elements of an extension block: `(identifier, data)`. Padding is skipped. A broken element ends the walk, for nobody
/// knows where the next one begins; identifier 15 of the one-byte form ends it too (RFC 8285 §4.2).
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    two_byte: bool,
}

impl<'a> Elements<'a> {
    pub(crate) fn new(profile: u16, data: &'a [u8]) -> Self {
        // RFC 8285 §4.3: 0x100 in the upper twelve bits, the lower four are "appbits" without meaning here.
        let two_byte = profile & 0xfff0 == 0x1000;
        let known = two_byte || profile == 0xbede;
        Self {
            rest: if known { data } else { &[] },
            two_byte,
        }
    }
}

impl<'a> Elements<'a> {
    /// Takes the next element off `rest`; `None` ends the walk.
    #[inline]
    fn take(rest: &mut &'a [u8], two_byte: bool) -> Option<(u8, &'a [u8])> {
        loop {
            let (&first, behind) = rest.split_first()?;
            if first == 0 {
                *rest = behind;
                continue;
            }
            let (id, len, behind) = if two_byte {
                let (&len, behind) = behind.split_first()?;
                (first, usize::from(len), behind)
            } else {
                // RFC 8285 §4.2: identifier 15 stops the processing of the whole block.
                if first >= 0xf0 {
                    return None;
                }
                (first >> 4, usize::from(first & 0xf) + 1, behind)
            };
            let (data, behind) = behind.split_at_checked(len)?;
            *rest = behind;
            if id != 0 {
                return Some((id, data));
            }
        }
    }

    /// Calls `each` with every element. The form is looked at once, not at each element: this runs for each packet.
    #[inline]
    pub(crate) fn each(mut self, mut each: impl FnMut(u8, &'a [u8])) {
        if self.two_byte {
            while let Some((id, data)) = Self::take(&mut self.rest, true) {
                each(id, data);
            }
        } else {
            while let Some((id, data)) = Self::take(&mut self.rest, false) {
                each(id, data);
            }
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let element = Self::take(&mut self.rest, self.two_byte);
        if element.is_none() {
            self.rest = &[];
        }
        element
    }
}

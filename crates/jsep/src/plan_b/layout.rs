//! Which sections there are on either side, and which of ours has which track of the peer.

use antiphon_sdp::{MediaDescription, SessionDescription};

use crate::survey::Content;
use crate::types::MediaKind;

use super::error::PlanBError;
use super::tracks::Track;

/// How Plan B is written: the words that its speakers did not agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanBStyle {
    /// The mid of the section for sound.
    pub audio: &'static str,
    /// The mid of the section for pictures.
    pub video: &'static str,
    /// The mid of the section for data channels.
    pub data: &'static str,
    /// The protocol on the `m=` lines of media.
    pub protocol: &'static str,
    /// The port on the `m=` lines of sections that are not refused; ICE knows the real one.
    pub port: u16,
}

impl PlanBStyle {
    /// As mediasoup 1.x wrote it.
    pub const MEDIASOUP: Self = Self {
        audio: "audio-tracks",
        video: "video-tracks",
        data: "data",
        protocol: "RTP/SAVPF",
        port: 7,
    };
    /// As Chromium wrote it before version 72.
    pub const CHROMIUM: Self = Self {
        audio: "audio",
        video: "video",
        data: "data",
        protocol: "UDP/TLS/RTP/SAVPF",
        port: 9,
    };
}

/// One section of Plan B.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) content: Content,
    pub(super) mid: String,
    pub(super) protocol: Option<String>,
}

/// One section of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) mid: String,
    pub(super) content: Content,
    /// The peer's track that has it.
    pub(super) track: Option<Known>,
}

/// By what a track is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    sources: Vec<u32>,
    msid: Option<String>,
}

/// The sections of both sides.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) style: PlanBStyle,
    /// The version of our last offer.
    pub(super) version: u64,
    pub(super) kinds: Vec<Kind>,
    pub(super) places: Vec<Place>,
}

impl Known {
    fn of(track: &Track<'_>) -> Self {
        Self {
            sources: track.sources.clone(),
            msid: track.msid.map(str::to_owned),
        }
    }

    fn has_a_source_of(&self, track: &Track<'_>) -> bool {
        self.sources.iter().any(|source| track.sources.contains(source))
    }

    fn has_the_msid_of(&self, track: &Track<'_>) -> bool {
        self.msid.is_some() && self.msid.as_deref() == track.msid
    }
}

impl Layout {
    pub(super) fn new(style: PlanBStyle) -> Self {
        Self {
            style,
            version: 0,
            kinds: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Notes the sections of a description of ours.
    pub(super) fn take_ours(&mut self, ours: &SessionDescription) -> Result<(), PlanBError> {
        for (index, media) in ours.media.iter().enumerate() {
            let content = known(Content::of(media), index)?;
            if !self.kinds.iter().any(|kind| kind.content == content) {
                let mid = match content {
                    Content::Media(MediaKind::Audio) => self.style.audio,
                    Content::Media(MediaKind::Video) => self.style.video,
                    Content::Data | Content::Unknown => self.style.data,
                };
                self.kinds.push(Kind {
                    content,
                    mid: mid.to_owned(),
                    protocol: matches!(content, Content::Media(_)).then(|| self.style.protocol.to_owned()),
                });
            }
            let mid = media.section.mid().unwrap_or_default();
            match self.places.get_mut(index) {
                // Another track may have the place of one that was refused.
                Some(place) if place.mid != mid || place.content != content => {
                    *place = Place {
                        mid: mid.to_owned(),
                        content,
                        track: None,
                    };
                }
                Some(_) => {}
                None => self.places.push(Place {
                    mid: mid.to_owned(),
                    content,
                    track: None,
                }),
            }
        }
        Ok(())
    }

    /// Notes the sections of an offer of the peer.
    pub(super) fn take_theirs(&mut self, theirs: &SessionDescription) -> Result<(), PlanBError> {
        let (given, expected) = (theirs.media.len(), self.kinds.len());
        if given < expected {
            return Err(PlanBError::Count { given, expected });
        }
        for (index, media) in theirs.media.iter().enumerate() {
            let content = known(Content::of(media), index)?;
            if index < self.kinds.len() {
                self.check(index, content, media)?;
                continue;
            }
            if self.kinds.iter().any(|kind| kind.content == content) {
                return Err(PlanBError::TwoOfAKind { index });
            }
            let protocol = media.line.protocol().to_owned();
            self.kinds.push(Kind {
                content,
                mid: media.section.mid().unwrap_or(media.line.media()).to_owned(),
                protocol: Some(protocol),
            });
        }
        Ok(())
    }

    /// Checks that an answer of the peer has the sections that there are.
    pub(super) fn check_answer(&self, theirs: &SessionDescription) -> Result<(), PlanBError> {
        let (given, expected) = (theirs.media.len(), self.kinds.len());
        if given != expected {
            return Err(PlanBError::Count { given, expected });
        }
        let mut sections = theirs.media.iter().enumerate();
        sections.try_for_each(|(index, media)| self.check(index, Content::of(media), media))
    }

    fn check(&self, index: usize, content: Content, media: &MediaDescription) -> Result<(), PlanBError> {
        let same = self.kinds.get(index).is_some_and(|kind| {
            let mid = media.section.mid();
            // A refused section of data channels may leave its format away, which says what it is.
            let refused = media.is_rejected() && content == Content::Unknown;
            (kind.content == content || refused) && mid.is_none_or(|mid| mid == kind.mid)
        });
        if same {
            Ok(())
        } else {
            Err(PlanBError::Changed { index })
        }
    }

    /// Gives each track of a kind its place among those that may have one: the one that it had, else the first that is
    /// free. Those without a place are given back.
    pub(super) fn place<'t, 'a>(
        &mut self,
        content: Content,
        tracks: &'t [Track<'a>],
        may_have: impl Fn(usize) -> bool,
    ) -> (Vec<Option<&'t Track<'a>>>, Vec<&'t Track<'a>>) {
        let mut placed: Vec<Option<&Track<'_>>> = vec![None; self.places.len()];
        let mut waiting: Vec<&Track<'_>> = tracks.iter().collect();
        // Sources tell more than names: a name may go to another track.
        for same in [Known::has_a_source_of, Known::has_the_msid_of] {
            waiting.retain(|track| {
                let mut places = self.places.iter().zip(&mut placed).enumerate();
                let found = places.find(|(index, (place, has))| {
                    let is_same = place.track.as_ref().is_some_and(|known| same(known, track));
                    place.content == content && has.is_none() && may_have(*index) && is_same
                });
                if let Some((_, (_, has))) = found {
                    *has = Some(*track);
                    return false;
                }
                true
            });
        }
        waiting.retain(|track| {
            let mut places = self.places.iter().zip(&mut placed).enumerate();
            let free =
                places.find(|(index, (place, has))| place.content == content && has.is_none() && may_have(*index));
            if let Some((_, (_, has))) = free {
                *has = Some(*track);
                return false;
            }
            true
        });
        for (place, track) in self.places.iter_mut().zip(&placed) {
            if place.content == content {
                place.track = track.map(Known::of);
            }
        }
        (placed, waiting)
    }
}

fn known(content: Content, index: usize) -> Result<Content, PlanBError> {
    match content {
        Content::Unknown => Err(PlanBError::UnknownKind { index }),
        _ => Ok(content),
    }
}

//! Plan B to ours: each track of a section gets a section of its own.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_sdp::{Attribute, Direction, Group, MediaDescription, MediaLine, Section, SessionDescription, Ssrc};

use crate::survey::Content;
use crate::types::MediaKind;

use super::error::PlanBError;
use super::layout::{Layout, Place};
use super::lines::{format_of, is_any};
use super::tracks::{self, Track};

/// What a section has of its own, and does not share with the others of its kind.
const NOT_COPIED: [&str; 11] = [
    "mid",
    "msid",
    "ssrc",
    "ssrc-group",
    "sendrecv",
    "sendonly",
    "recvonly",
    "inactive",
    "bundle-only",
    "candidate",
    "end-of-candidates",
];

/// A peer's answer, with one section for each that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanBAnswer {
    /// The answer to the offer.
    pub description: SessionDescription,
    /// The kinds of the peer's tracks that no section of the offer had a place for. Whoever wants them adds a
    /// transceiver that receives for each, makes another offer, and has the same answer translated again for that: the
    /// peer need not hear of it.
    pub left_over: Vec<MediaKind>,
}

/// Which of the peer's tracks each of our sections has.
type Placed<'t, 'a> = Vec<Option<&'t Track<'a>>>;

/// The peer's answer to an offer of ours.
pub(super) fn answer(
    layout: &mut Layout,
    ours: &SessionDescription,
    theirs: &SessionDescription,
) -> Result<PlanBAnswer, PlanBError> {
    layout.check_answer(theirs)?;
    check_bundle(theirs)?;
    let mut left_over = Vec::new();
    let tracks = tracks_of(layout, theirs)?;
    let mut placed: Placed<'_, '_> = vec![None; layout.places.len()];
    for (index, tracks) in tracks.iter().enumerate() {
        let Some(Content::Media(kind)) = layout.kinds.get(index).map(|kind| kind.content) else {
            continue;
        };
        let receives = |index: usize| {
            let media = ours.media.get(index);
            media.is_some_and(|media| !media.is_rejected() && ours.direction_of(media).receives())
        };
        let (had, waiting) = layout.place(Content::Media(kind), tracks, receives);
        placed
            .iter_mut()
            .zip(had)
            .for_each(|(place, track)| *place = place.or(track));
        left_over.extend(waiting.iter().map(|_| kind));
    }
    let mut made = Made::new(theirs);
    for (index, offered) in ours.media.iter().enumerate() {
        let theirs = their_section(layout, theirs, Content::of(offered));
        let mid = offered.section.mid().unwrap_or_default();
        let formats: Vec<&str> = match theirs.filter(|media| !media.is_rejected() && !offered.is_rejected()) {
            Some(theirs) => {
                let ours: BTreeSet<&str> = offered.line.formats().collect();
                theirs.line.formats().filter(|format| ours.contains(format)).collect()
            }
            None => Vec::new(),
        };
        let Some(theirs) = theirs.filter(|_| !formats.is_empty()) else {
            made.refuse(offered, mid);
            continue;
        };
        let track = placed.get(index).copied().flatten();
        let receives = made.whole.direction_of(theirs).receives() && ours.direction_of(offered).sends();
        made.accept(&Accepted {
            protocol: offered.line.protocol(),
            mid,
            formats: &formats,
            theirs,
            offered: Some(offered),
            direction: Direction::from_flags(track.is_some(), receives),
            track,
        });
    }
    Ok(PlanBAnswer {
        description: made.finish(),
        left_over,
    })
}

/// An offer of the peer.
pub(super) fn offer(layout: &mut Layout, theirs: &SessionDescription) -> Result<SessionDescription, PlanBError> {
    layout.take_theirs(theirs)?;
    check_bundle(theirs)?;
    let tracks = tracks_of(layout, theirs)?;
    for (kind, tracks) in layout.kinds.clone().iter().zip(&tracks) {
        // Sections are never taken away, and each kind has one at least.
        let count = layout
            .places
            .iter()
            .filter(|place| place.content == kind.content)
            .count();
        let wanted = match kind.content {
            Content::Media(_) => tracks.len().max(1),
            Content::Data | Content::Unknown => 1,
        };
        for number in count..wanted {
            let mid = fresh_mid(layout, &kind.mid, number);
            let content = kind.content;
            layout.places.push(Place {
                mid,
                content,
                track: None,
            });
        }
    }
    let mut placed: Placed<'_, '_> = vec![None; layout.places.len()];
    for (kind, tracks) in layout.kinds.clone().iter().zip(&tracks) {
        let (had, _) = layout.place(kind.content, tracks, |_| true);
        placed
            .iter_mut()
            .zip(had)
            .for_each(|(place, track)| *place = place.or(track));
    }
    let mut made = Made::new(theirs);
    for (place, track) in layout.places.iter().zip(placed) {
        let Some(theirs) = their_section(layout, theirs, place.content) else {
            continue;
        };
        if theirs.is_rejected() {
            made.refuse(theirs, &place.mid);
            continue;
        }
        let formats: Vec<&str> = theirs.line.formats().collect();
        let receives = made.whole.direction_of(theirs).receives();
        made.accept(&Accepted {
            protocol: theirs.line.protocol(),
            mid: &place.mid,
            formats: &formats,
            theirs,
            offered: None,
            direction: Direction::from_flags(track.is_some(), receives),
            track,
        });
    }
    Ok(made.finish())
}

/// One of our sections, to be made of one of the peer's.
struct Accepted<'x, 'a> {
    protocol: &'x str,
    mid: &'x str,
    formats: &'x [&'x str],
    theirs: &'x MediaDescription,
    /// What it answers.
    offered: Option<&'x MediaDescription>,
    direction: Direction,
    track: Option<&'x Track<'a>>,
}

/// The description that is being made.
struct Made<'a> {
    whole: &'a SessionDescription,
    media: Vec<MediaDescription>,
    bundle: Vec<String>,
}

impl<'a> Made<'a> {
    fn new(whole: &'a SessionDescription) -> Self {
        Self {
            whole,
            media: Vec::new(),
            bundle: Vec::new(),
        }
    }

    fn refuse(&mut self, like: &MediaDescription, mid: &str) {
        let formats = like.line.formats().take(128);
        let line = MediaLine::new(like.line.media(), 0, like.line.protocol(), formats);
        let mut media = MediaDescription::new(line);
        media.section.add(&Attribute::Mid(mid));
        media.section.add(&Attribute::Direction(Direction::Inactive));
        self.media.push(media);
    }

    fn accept(&mut self, accepted: &Accepted<'_, '_>) {
        let Accepted { theirs, mid, .. } = *accepted;
        let formats: BTreeSet<&str> = accepted.formats.iter().copied().collect();
        let offered: Option<BTreeMap<u16, &str>> = accepted.offered.map(|offered| {
            let maps = offered.section.extmaps();
            maps.map(|map| (map.id, map.uri)).collect()
        });
        let port = theirs.line.port().max(1);
        let line = MediaLine::new(
            theirs.line.media(),
            port,
            accepted.protocol,
            accepted.formats.iter().copied(),
        );
        let mut media = MediaDescription::new(line);
        let section = &mut media.section;
        for line in theirs.section.lines().iter().filter(|line| !is_any(line, &NOT_COPIED)) {
            let is_of_another = format_of(line).is_some_and(|format| format != "*" && !formats.contains(format));
            let is_unknown = match (line.attribute(), &offered) {
                (Some(Attribute::ExtMap(map)), Some(offered)) => offered.get(&map.id) != Some(&map.uri),
                _ => false,
            };
            if !is_of_another && !is_unknown {
                section.push(line.clone());
            }
        }
        section.add(&Attribute::Mid(mid));
        if Content::of(theirs) != Content::Data {
            section.add(&Attribute::Direction(accepted.direction));
        }
        if let Some(track) = accepted.track {
            write_track(section, track);
        }
        // What was gathered stands in the first section of the bundle.
        if self.bundle.is_empty() {
            let gathered = ["candidate", "end-of-candidates"];
            let lines = theirs.section.lines().iter().filter(|line| is_any(line, &gathered));
            lines.for_each(|line| section.push(line.clone()));
        }
        self.bundle.push(mid.to_owned());
        self.media.push(media);
    }

    fn finish(self) -> SessionDescription {
        let mut session = Section::new();
        let kept = self
            .whole
            .session
            .lines()
            .iter()
            .filter(|line| !is_any(line, &["group"]));
        kept.for_each(|line| session.push(line.clone()));
        if !self.bundle.is_empty() {
            session.add(&Attribute::Group(Group::new("BUNDLE", &self.bundle.join(" "))));
        }
        SessionDescription {
            session,
            media: self.media,
        }
    }
}

fn write_track(section: &mut Section, track: &Track<'_>) {
    if let Some(msid) = track.msid {
        section.add_value("msid", msid);
    }
    for group in &track.groups {
        section.add(&Attribute::SsrcGroup(group.clone()));
    }
    for ssrc in &track.sources {
        for line in track.lines.iter().filter(|line| line.ssrc == *ssrc) {
            section.add(&Attribute::Ssrc(*line));
        }
        if let Some(msid) = track.msid {
            section.add(&Attribute::Ssrc(Ssrc {
                ssrc: *ssrc,
                attribute: "msid",
                value: Some(msid),
            }));
        }
    }
}

/// The tracks of each of their sections, none of those that send nothing.
fn tracks_of<'a>(layout: &Layout, theirs: &'a SessionDescription) -> Result<Vec<Vec<Track<'a>>>, PlanBError> {
    let read = |(media, kind): (&'a MediaDescription, &super::layout::Kind)| {
        let sends = !media.is_rejected() && theirs.direction_of(media).sends();
        match kind.content {
            Content::Media(_) if sends => tracks::read(&media.section),
            _ => Ok(Vec::new()),
        }
    };
    theirs.media.iter().zip(&layout.kinds).map(read).collect()
}

fn their_section<'a>(
    layout: &Layout,
    theirs: &'a SessionDescription,
    content: Content,
) -> Option<&'a MediaDescription> {
    let index = layout.kinds.iter().position(|kind| kind.content == content)?;
    theirs.media.get(index)
}

/// A mid that no section has.
fn fresh_mid(layout: &Layout, base: &str, number: usize) -> String {
    let is_taken = |mid: &str| layout.places.iter().any(|place| place.mid == mid);
    if number == 0 && !is_taken(base) {
        return base.to_owned();
    }
    let mut mids = (number.max(1)..).map(|number| format!("{base}-{number}"));
    mids.find(|mid| !is_taken(mid)).unwrap_or_default()
}

/// Everything that is accepted is in one bundle, or alone.
fn check_bundle(theirs: &SessionDescription) -> Result<(), PlanBError> {
    let accepted = theirs
        .media
        .iter()
        .enumerate()
        .filter(|(_, media)| !media.is_rejected());
    if accepted.clone().count() < 2 {
        return Ok(());
    }
    let groups = theirs.session.groups();
    let mids: BTreeSet<&str> = groups
        .filter(|group| group.semantics == "BUNDLE")
        .flat_map(|group| group.mids())
        .collect();
    for (index, media) in accepted {
        if !media.section.mid().is_some_and(|mid| mids.contains(mid)) {
            return Err(PlanBError::NotBundled { index });
        }
    }
    Ok(())
}

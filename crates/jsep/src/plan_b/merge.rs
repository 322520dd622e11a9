//! Ours to Plan B: the sections of a kind become one.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_sdp::{
    Attribute, Direction, Group, Line, MediaDescription, MediaLine, Origin, RidDirection, Section, SessionDescription,
    Ssrc,
};

use crate::survey::Content;
use crate::types::MediaKind;

use super::error::PlanBError;
use super::layout::{Kind, Layout};
use super::lines::{format_of, is_any};

/// What a merged section says once, or in words of its own.
const NOT_COPIED: [&str; 17] = [
    "mid",
    "msid",
    "ssrc",
    "ssrc-group",
    "rtpmap",
    "fmtp",
    "rtcp-fb",
    "extmap",
    "rid",
    "simulcast",
    "candidate",
    "end-of-candidates",
    "bundle-only",
    "sendrecv",
    "sendonly",
    "recvonly",
    "inactive",
];

/// The codecs of several sections, each payload type once.
#[derive(Default)]
struct Codecs<'a> {
    formats: Vec<&'a str>,
    /// The `a=rtpmap` of each payload type.
    maps: BTreeMap<u8, &'a str>,
    lines: Vec<&'a Line>,
}

/// The description with one section for each kind.
pub(super) fn merge(layout: &Layout, ours: &SessionDescription) -> Result<SessionDescription, PlanBError> {
    let candidates: Vec<&Line> = ours
        .media
        .iter()
        .filter(|media| !media.is_rejected())
        .map(|media| gathered(&media.section))
        .find(|lines| !lines.is_empty())
        .unwrap_or_default();
    let mut merged = SessionDescription {
        session: Section::new(),
        media: Vec::new(),
    };
    for kind in &layout.kinds {
        let members: Vec<&MediaDescription> = ours
            .media
            .iter()
            .filter(|media| Content::of(media) == kind.content)
            .collect();
        let active: Vec<&MediaDescription> = members.iter().copied().filter(|media| !media.is_rejected()).collect();
        let mut media = match (active.first(), kind.content) {
            (Some(first), Content::Media(_)) => section(layout, ours, kind, first, &active)?,
            (Some(first), _) => data(layout, kind, first),
            (None, _) => refused(kind, members.first().copied()),
        };
        if !active.is_empty() {
            candidates.iter().for_each(|line| media.section.push((*line).clone()));
        }
        merged.media.push(media);
    }
    write_session(layout, ours, &mut merged);
    Ok(merged)
}

fn write_session(layout: &Layout, ours: &SessionDescription, merged: &mut SessionDescription) {
    let mids: Vec<&str> = layout
        .kinds
        .iter()
        .zip(&merged.media)
        .filter(|(_, media)| media.line.port() != 0)
        .map(|(kind, _)| kind.mid.as_str())
        .collect();
    let mut session = Section::new();
    let kept = ours.session.lines().iter().filter(|line| !is_any(line, &["group"]));
    kept.for_each(|line| session.push(line.clone()));
    if !mids.is_empty() {
        session.add(&Attribute::Group(Group::new("BUNDLE", &mids.join(" "))));
    }
    merged.session = session;
    if let Some(origin) = ours.origin() {
        merged.set_origin(&Origin {
            session_version: &layout.version.max(1).to_string(),
            ..origin
        });
    }
}

/// One section of all that are active.
fn section(
    layout: &Layout,
    ours: &SessionDescription,
    kind: &Kind,
    first: &MediaDescription,
    active: &[&MediaDescription],
) -> Result<MediaDescription, PlanBError> {
    let codecs = Codecs::of(active)?;
    let protocol = kind.protocol.as_deref().unwrap_or(first.line.protocol());
    let line = MediaLine::new(
        first.line.media(),
        layout.style.port,
        protocol,
        codecs.formats.iter().copied(),
    );
    let mut media = MediaDescription::new(line);
    let section = &mut media.section;
    for line in first.section.lines().iter().filter(|line| !is_any(line, &NOT_COPIED)) {
        section.push(line.clone());
    }
    section.add(&Attribute::Mid(&kind.mid));
    let mut extensions: BTreeMap<u16, &str> = BTreeMap::new();
    for map in active.iter().flat_map(|media| media.section.extmaps()) {
        match extensions.insert(map.id, map.uri) {
            None => section.add(&Attribute::ExtMap(map)),
            Some(uri) if uri == map.uri => {}
            Some(_) => return Err(PlanBError::Extension { id: map.id }),
        }
    }
    let direction = |media: &&&MediaDescription| ours.direction_of(media);
    let sends = active.iter().any(|media| direction(&media).sends());
    let receives = active.iter().any(|media| direction(&media).receives());
    section.add(&Attribute::Direction(Direction::from_flags(sends, receives)));
    codecs.lines.iter().for_each(|line| section.push((*line).clone()));
    // Chromium sends layers (`SIM`) to who says that this is a conference.
    let takes_layers =
        |media: &&MediaDescription| media.section.rids().any(|rid| rid.direction == RidDirection::Receive);
    if kind.content == Content::Media(MediaKind::Video) && active.iter().any(takes_layers) {
        section.add_value("x-google-flag", "conference");
    }
    for media in active.iter().filter(|media| direction(media).sends()) {
        write_sources(section, media)?;
    }
    Ok(media)
}

impl<'a> Codecs<'a> {
    fn of(active: &[&'a MediaDescription]) -> Result<Self, PlanBError> {
        let mut codecs = Self::default();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for media in active {
            for map in media.section.rtpmaps() {
                let number = map.payload_type;
                let mut values = media.section.values("rtpmap");
                let text = values.find(|text| text.split_ascii_whitespace().next() == Some(&number.to_string()));
                let text = text.unwrap_or_default();
                if codecs.maps.insert(number, text).is_some_and(|before| before != text) {
                    return Err(PlanBError::PayloadType { number });
                }
            }
            let fresh: Vec<&str> = media.line.formats().filter(|format| seen.insert(format)).collect();
            codecs.formats.extend(&fresh);
            for line in media.section.lines() {
                let of = format_of(line);
                // What is said of all payload types at once is said once.
                let is_new = match of {
                    Some("*") => !codecs.lines.iter().any(|own| own.value() == line.value()),
                    Some(format) => fresh.contains(&format),
                    None => false,
                };
                if is_new {
                    codecs.lines.push(line);
                }
            }
        }
        Ok(codecs)
    }
}

/// The sources of one track, each with its msid.
fn write_sources(section: &mut Section, media: &MediaDescription) -> Result<(), PlanBError> {
    let mid = media.section.mid().unwrap_or_default();
    let mut sources: Vec<u32> = Vec::new();
    for line in media.section.ssrcs() {
        if !sources.contains(&line.ssrc) {
            sources.push(line.ssrc);
        }
    }
    if sources.is_empty() && media.section.rids().any(|rid| rid.direction == RidDirection::Send) {
        return Err(PlanBError::Rids { mid: mid.to_owned() });
    }
    let of_section = media.section.msids().next();
    let msid = of_section.map_or_else(
        || format!("- {mid}"),
        |msid| format!("{} {}", msid.stream, msid.track.unwrap_or(mid)),
    );
    for group in media.section.ssrc_groups() {
        section.add(&Attribute::SsrcGroup(group));
    }
    for ssrc in sources {
        let own = || media.section.ssrcs().filter(move |line| line.ssrc == ssrc);
        let mut named = own()
            .filter(|line| line.attribute == "msid")
            .filter_map(|line| line.value);
        let value = Some(named.next().unwrap_or(&msid));
        for line in own().filter(|line| line.attribute != "msid" && !line.attribute.is_empty()) {
            section.add(&Attribute::Ssrc(line));
        }
        let attribute = "msid";
        section.add(&Attribute::Ssrc(Ssrc { ssrc, attribute, value }));
    }
    Ok(())
}

fn data(layout: &Layout, kind: &Kind, ours: &MediaDescription) -> MediaDescription {
    let mut media = ours.clone();
    let skipped = ["mid", "candidate", "end-of-candidates", "bundle-only"];
    media.section.retain(|line| !is_any(line, &skipped));
    media.section.add(&Attribute::Mid(&kind.mid));
    media.line.set_port(layout.style.port);
    media
}

/// A kind of which there is nothing any more.
fn refused(kind: &Kind, ours: Option<&MediaDescription>) -> MediaDescription {
    let (name, formats): (&str, Vec<&str>) = match (ours, kind.content) {
        (Some(ours), _) => (ours.line.media(), ours.line.formats().collect()),
        (None, Content::Media(kind)) => (kind.as_str(), vec!["0"]),
        (None, _) => ("application", vec!["webrtc-datachannel"]),
    };
    let own = ours.map_or("UDP/DTLS/SCTP", |ours| ours.line.protocol());
    let protocol = kind.protocol.as_deref().unwrap_or(own);
    let mut media = MediaDescription::new(MediaLine::new(name, 0, protocol, formats));
    media.section.push(Line::new('c', "IN IP4 0.0.0.0"));
    media.section.add(&Attribute::Mid(&kind.mid));
    media.section.add(&Attribute::Direction(Direction::Inactive));
    media
}

fn gathered(section: &Section) -> Vec<&Line> {
    let lines = section.lines().iter();
    lines
        .filter(|line| is_any(line, &["candidate", "end-of-candidates"]))
        .collect()
}

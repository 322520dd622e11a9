//! The tracks of one section of Plan B: sources that have one msid, or stand in one group.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_sdp::{Section, Ssrc, SsrcGroup};

use super::error::PlanBError;

/// Tracks of one section that are handled.
pub const MAX_TRACKS: usize = 256;
/// Sources of one section that are handled: three layers of each track, with retransmissions.
pub const MAX_SOURCES: usize = 6 * MAX_TRACKS;

/// One track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Track<'a> {
    /// Its stream and its name.
    pub(super) msid: Option<&'a str>,
    /// Its sources, in the order in which they stand.
    pub(super) sources: Vec<u32>,
    /// What is said of them.
    pub(super) lines: Vec<Ssrc<'a>>,
    /// Which of them belong together: layers (`SIM`), retransmissions (`FID`), protection.
    pub(super) groups: Vec<SsrcGroup<'a>>,
}

/// Reads the tracks of a section, in the order in which they stand.
pub(super) fn read(section: &Section) -> Result<Vec<Track<'_>>, PlanBError> {
    let mut msids: BTreeMap<u32, Option<&str>> = BTreeMap::new();
    let mut order = Vec::new();
    for line in section.ssrcs() {
        let msid = msids.entry(line.ssrc).or_insert_with(|| {
            order.push(line.ssrc);
            None
        });
        if line.attribute == "msid" && msid.is_none() {
            *msid = line.value.map(str::trim).filter(|value| !value.is_empty());
        }
        if order.len() > MAX_SOURCES {
            return Err(PlanBError::TooManyTracks { max: MAX_SOURCES });
        }
    }
    // Peers that say it of the section have one track in it.
    let of_section = section.value("msid").filter(|_| msids.values().all(Option::is_none));
    let mut groups: Vec<SsrcGroup<'_>> = section.ssrc_groups().take(2 * MAX_SOURCES).collect();
    groups.retain(|group| group.ssrcs.iter().any(|ssrc| msids.contains_key(ssrc)));
    let mut groups_of: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, group) in groups.iter().enumerate() {
        for ssrc in &group.ssrcs {
            groups_of.entry(*ssrc).or_default().push(place);
        }
    }
    let mut tracks: Vec<Track<'_>> = Vec::new();
    let mut by_msid: BTreeMap<&str, usize> = BTreeMap::new();
    let mut of_source: BTreeMap<u32, usize> = BTreeMap::new();
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    for ssrc in &order {
        let msid = msids.get(ssrc).copied().flatten().or(of_section);
        let named = msid.and_then(|msid| by_msid.get(msid).copied());
        let index = named.or_else(|| of_source.get(ssrc).copied()).unwrap_or_else(|| {
            tracks.push(Track {
                msid,
                ..Track::default()
            });
            tracks.len() - 1
        });
        if let Some(msid) = msid {
            by_msid.insert(msid, index);
        }
        of_source.insert(*ssrc, index);
        // What is in one group is of one track, unless it has a name of its own.
        for place in groups_of.remove(ssrc).unwrap_or_default() {
            let others = groups
                .get(place)
                .map(|group| group.ssrcs.as_slice())
                .unwrap_or_default();
            // Once is enough: the next of them finds itself named.
            if seen.insert(place) {
                others.iter().for_each(|other| {
                    of_source.entry(*other).or_insert(index);
                });
            }
        }
        if let Some(track) = tracks.get_mut(index) {
            track.sources.push(*ssrc);
        }
    }
    if tracks.len() > MAX_TRACKS {
        return Err(PlanBError::TooManyTracks { max: MAX_TRACKS });
    }
    for line in section.ssrcs().filter(|line| line.attribute != "msid") {
        let index = of_source.get(&line.ssrc).copied();
        if let Some(track) = index.and_then(|index| tracks.get_mut(index)) {
            track.lines.push(line);
        }
    }
    for group in groups {
        let index = group.ssrcs.iter().find_map(|ssrc| of_source.get(ssrc).copied());
        if let Some(track) = index.and_then(|index| tracks.get_mut(index)) {
            track.groups.push(group);
        }
    }
    Ok(tracks)
}

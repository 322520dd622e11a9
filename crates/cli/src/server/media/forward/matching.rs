//! Which track goes to which section of a watcher's offer.

use std::fmt::Write;

use antiphon::{Codec, CodecCapability, Direction, MediaCapabilities, MediaKind, OfferedContent, OfferedSection};

/// Characters of one codec's parameters that a message shows.
const MAX_SHOWN: usize = 80;
/// Codecs that a message lists.
const MAX_LISTED: usize = 12;

/// Something that may be sent on a section.
#[derive(Clone, Debug)]
pub(in crate::server) struct Playable {
    pub(in crate::server) kind: MediaKind,
    /// A watcher must take one of these.
    pub(in crate::server) any_of: Vec<Codec>,
}

impl Playable {
    fn fits(&self, section: &OfferedSection) -> bool {
        section.content == OfferedContent::Media(self.kind)
            && section
                .codecs
                .iter()
                .any(|theirs| self.any_of.iter().any(|stream| theirs.decodes(stream)))
    }
}

/// Whether the offerer wants to receive on a section.
pub(super) fn receives(section: &OfferedSection) -> bool {
    !section.rejected
        && matches!(section.content, OfferedContent::Media(_))
        && matches!(section.direction, Direction::RecvOnly | Direction::SendRecv)
}

/// A playable for each section, of what we make ourselves and can send on any number of them: in any of these codecs.
pub(in crate::server) fn repeated(capabilities: &MediaCapabilities, sections: &[OfferedSection]) -> Vec<Playable> {
    let playable = |section: &OfferedSection| {
        let OfferedContent::Media(kind) = section.content else {
            return None;
        };
        let codec = |own: &CodecCapability| Codec {
            payload_type: own.payload_type,
            name: own.name.clone(),
            clock_rate: own.clock_rate,
            channels: own.channels,
            parameters: own.parameters.clone(),
            sender_parameters: String::new(),
            feedback: Vec::new(),
            rtx: None,
        };
        let any_of = capabilities.codecs(kind).iter().map(codec).collect();
        receives(section).then_some(Playable { kind, any_of })
    };
    sections.iter().filter_map(playable).collect()
}

/// For each section which of the playables it gets, each of them at most once: the first that fits, unless another choice serves
/// more sections. A section that nothing is left for gets nothing.
///
/// # Errors
/// What is published and what was offered, if something is left for a section but in no codec that it takes; or if nothing can be
/// played at all.
pub(in crate::server) fn assign(
    sections: &[OfferedSection],
    playables: &[Playable],
) -> Result<Vec<Option<usize>>, String> {
    let mut matching = Matching {
        sections,
        playables,
        taken: vec![None; playables.len()],
    };
    for (index, section) in sections.iter().enumerate() {
        if receives(section) {
            let mut seen = vec![false; playables.len()];
            matching.place(index, &mut seen);
        }
    }
    let mut assigned = vec![None; sections.len()];
    for (playable, section) in matching.taken.iter().enumerate() {
        if let Some(section) = section {
            assigned[*section] = Some(playable);
        }
    }
    for (section, own) in sections.iter().zip(&assigned) {
        let left: Vec<&Playable> = playables
            .iter()
            .zip(&matching.taken)
            .filter(|(playable, taken)| taken.is_none() && section.content == OfferedContent::Media(playable.kind))
            .map(|(playable, _)| playable)
            .collect();
        if own.is_none() && receives(section) && !left.is_empty() {
            let published = left.iter().flat_map(|playable| &playable.any_of);
            return Err(format!(
                "nothing in common in section {}: published is {}; offered was {}",
                section.label,
                list(published),
                list(&section.codecs)
            ));
        }
    }
    if assigned.iter().all(Option::is_none) {
        let published = playables.iter().flat_map(|playable| &playable.any_of);
        let offered = sections.iter().filter(|section| receives(section));
        return Err(format!(
            "nothing to play: published is {}; offered to receive was {}",
            list(published),
            list(offered.flat_map(|section| &section.codecs))
        ));
    }
    Ok(assigned)
}

/// An assignment that grows by augmenting paths.
struct Matching<'a> {
    sections: &'a [OfferedSection],
    playables: &'a [Playable],
    /// Who has each playable.
    taken: Vec<Option<usize>>,
}

impl Matching<'_> {
    /// Finds a place for a section, if need be by moving others. Recursion ends with the playables, which are few.
    fn place(&mut self, section: usize, seen: &mut [bool]) -> bool {
        let fitting: Vec<usize> = (0..self.playables.len())
            .filter(|&index| self.playables[index].fits(&self.sections[section]))
            .collect();
        if let Some(&free) = fitting.iter().find(|&&index| self.taken[index].is_none()) {
            self.taken[free] = Some(section);
            return true;
        }
        for index in fitting {
            if !std::mem::replace(&mut seen[index], true)
                && self.taken[index].is_none_or(|other| self.place(other, seen))
            {
                self.taken[index] = Some(section);
                return true;
            }
        }
        false
    }
}

/// Codecs for people. Names and parameters come from peers.
pub(super) fn list<'a>(codecs: impl IntoIterator<Item = &'a Codec>) -> String {
    let mut text = String::new();
    let mut codecs = codecs.into_iter();
    for codec in codecs.by_ref().take(MAX_LISTED) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.extend(shown(&codec.name));
        if !codec.parameters.is_empty() {
            text.push_str(" (");
            text.extend(shown(&codec.parameters));
            text.push(')');
        }
    }
    let more = codecs.count();
    if more > 0 {
        // A String takes everything.
        _ = write!(text, " and {more} more");
    }
    if text.is_empty() { "nothing".into() } else { text }
}

fn shown(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::super::track::tests::codec;
    use super::*;

    fn section(label: &str, kind: MediaKind, direction: Direction, codecs: &[Codec]) -> OfferedSection {
        OfferedSection {
            label: label.into(),
            content: OfferedContent::Media(kind),
            rejected: false,
            direction,
            codecs: codecs.to_vec(),
        }
    }

    fn video(codecs: &[Codec]) -> Playable {
        Playable {
            kind: MediaKind::Video,
            any_of: codecs.to_vec(),
        }
    }

    fn h264(profile: &str) -> Codec {
        codec(102, "H264", &format!("packetization-mode=1;profile-level-id={profile}"))
    }

    #[test]
    fn mend11_sections_get_tracks_by_codec_and_in_order() {
        use Direction::{RecvOnly, SendOnly};
        use MediaKind::{Audio, Video};
        let vp8 = codec(96, "VP8", "");
        let tracks = [video(std::slice::from_ref(&vp8)), video(&[h264("42e01f")])];
        let both = [vp8.clone(), h264("42e01f")];
        let of = |sections: &[OfferedSection]| assign(sections, &tracks);
        // In order where both would do.
        assert_eq!(
            of(&[
                section("0", Video, RecvOnly, &both),
                section("1", Video, RecvOnly, &both)
            ]),
            Ok(vec![Some(0), Some(1)])
        );
        // The first gives way if only then both are served.
        assert_eq!(
            of(&[
                section("0", Video, RecvOnly, &both),
                section("1", Video, RecvOnly, &both[..1])
            ]),
            Ok(vec![Some(1), Some(0)])
        );
        // Nothing is left for a third section, and for audio there is nothing at all; who sends gets nothing.
        assert_eq!(
            of(&[
                section("0", Video, SendOnly, &both),
                section("1", Video, RecvOnly, &both),
                section("2", Audio, RecvOnly, &[codec(111, "opus", "")]),
                section("3", Video, RecvOnly, &both),
                section("4", Video, RecvOnly, &both),
            ]),
            Ok(vec![None, Some(0), None, Some(1), None])
        );
    }

    #[test]
    fn mend11_who_has_nothing_in_common_hears_what_was_published_and_what_was_offered() {
        use Direction::RecvOnly;
        let tracks = [video(&[h264("42e01f")])];
        let vp8 = [codec(96, "VP8", ""), codec(98, "VP9", "profile-id=0")];
        let refusal = assign(&[section("v", MediaKind::Video, RecvOnly, &vp8)], &tracks).unwrap_err();
        assert_eq!(
            refusal,
            "nothing in common in section v: published is H264 (packetization-mode=1;profile-level-id=42e01f); offered was VP8, \
             VP9 (profile-id=0)"
        );
        let audio = [section("a", MediaKind::Audio, RecvOnly, &[codec(111, "opus", "")])];
        let refusal = assign(&audio, &tracks).unwrap_err();
        assert!(
            refusal.contains("published is H264") && refusal.contains("was opus"),
            "{refusal}"
        );
        assert!(assign(&[], &tracks).is_err());
        // What strangers call their codecs does not reach a terminal as they wrote it.
        let strange = [section(
            "v",
            MediaKind::Video,
            RecvOnly,
            &[codec(96, "\u{1b}[2J", &"x".repeat(9999))],
        )];
        let refusal = assign(&strange, &tracks).unwrap_err();
        assert!(refusal.len() < 300 && !refusal.contains('\u{1b}'), "{refusal}");
    }

    #[test]
    fn mend05_a_watcher_takes_every_profile_that_its_decoder_contains() {
        let takes = |watcher: &str, publisher: &str| {
            let offered = [section("v", MediaKind::Video, Direction::RecvOnly, &[h264(watcher)])];
            assign(&offered, &[video(&[h264(publisher)])]).is_ok()
        };
        for (watcher, publisher, fits) in [
            ("42e01f", "42e01f", true),
            ("42e01f", "42e034", true),
            // ffmpeg's Baseline without constraints; phones' Constrained High.
            ("42001f", "420014", true),
            ("640c1f", "640c1f", true),
            ("64001f", "640c1f", true),
            ("64001f", "42e01f", true),
            ("42e01f", "64001f", false),
            ("42e01f", "420014", false),
        ] {
            assert_eq!(takes(watcher, publisher), fits, "{publisher} to {watcher}");
        }
    }
}

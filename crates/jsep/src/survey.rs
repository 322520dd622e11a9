//! Reading a description's sections: what they are, which of them we can take, and what they say of the transport.

use std::cell::LazyCell;
use std::collections::BTreeSet;

use antiphon_sdp::{MediaDescription, Section, SessionDescription, Setup};

use crate::config::Config;
use crate::error::JsepError;
use crate::format::Format;
use crate::plan::{IceParameters, RemoteTransport};
use crate::types::{Fingerprint, HeaderEncryptionPolicy, MediaKind, SdpType};

/// The most m-sections that are handled in one description.
pub(crate) const MAX_SECTIONS: usize = 512;
/// The longest description that is handled, in bytes.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// How many fingerprints, and how many ICE options, are kept of one description.
const MAX_FINGERPRINTS: usize = 16;
const MAX_ICE_OPTIONS: usize = 32;

/// What a section carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Media(MediaKind),
    Data,
    /// Nothing that we know; it gets port 0.
    Unknown,
}

impl Content {
    pub(crate) fn of(media: &MediaDescription) -> Self {
        match MediaKind::parse(media.line.media()) {
            Some(kind) => Self::Media(kind),
            // RFC 8841 §4: the protocol names DTLS itself, the format names the use.
            None if media.line.media() == "application"
                && matches!(media.line.protocol(), "UDP/DTLS/SCTP" | "TCP/DTLS/SCTP")
                && media.line.formats().any(|format| format == "webrtc-datachannel") =>
            {
                Self::Data
            }
            None => Self::Unknown,
        }
    }
}

/// A name for a section in an error.
pub(crate) fn label(description: &SessionDescription, index: usize) -> String {
    description
        .media
        .get(index)
        .and_then(|media| media.section.mid())
        .map_or_else(|| format!("#{index}"), |mid| mid.chars().take(32).collect())
}

/// The checks that hold for every description, whoever made it.
pub(crate) fn check(description: &SessionDescription) -> Result<(), JsepError> {
    let count = description.media.len();
    if count > MAX_SECTIONS {
        return Err(JsepError::TooManySections {
            count,
            max: MAX_SECTIONS,
        });
    }
    let bytes = description.text_len();
    if bytes > MAX_BYTES {
        return Err(JsepError::TooLong { bytes, max: MAX_BYTES });
    }
    let mut mids = BTreeSet::new();
    let with_dtls = LazyCell::new(|| bundled_with_fingerprint(description));
    for (index, media) in description.media.iter().enumerate() {
        if let Some(mid) = media.section.mid()
            && !mids.insert(mid)
        {
            return Err(JsepError::DuplicateMid {
                mid: label(description, index),
            });
        }
        // V14: media without DTLS is refused loudly, not answered with port 0 and forgotten. RFC 9429 §5.1.2: older
        // profiles are as good, if a fingerprint says that DTLS is meant.
        let protocol = media.line.protocol();
        if matches!(Content::of(media), Content::Media(_)) && !media.is_rejected() && !is_dtls_srtp(protocol) {
            let dtls = !fingerprints(description, index).is_empty()
                || media.section.mid().is_some_and(|mid| with_dtls.contains(mid));
            if dtls && matches!(protocol, "RTP/AVP" | "RTP/AVPF" | "RTP/SAVP" | "RTP/SAVPF") {
                continue;
            }
            return Err(JsepError::InsecureProtocol {
                mid: label(description, index),
                protocol: protocol.chars().take(64).collect(),
            });
        }
    }
    Ok(())
}

/// The mids of the groups in which some section has a fingerprint: it is that of the whole group (RFC 9143 §7.1).
fn bundled_with_fingerprint(description: &SessionDescription) -> BTreeSet<&str> {
    let has = |media: &MediaDescription| media.section.fingerprints().next().is_some();
    let with: BTreeSet<&str> = description
        .media
        .iter()
        .filter(|media| has(media))
        .filter_map(|media| media.section.mid())
        .collect();
    bundles(description)
        .filter(|group| !group.is_disjoint(&with))
        .flatten()
        .collect()
}

/// RFC 5764 §8, RFC 7850 §3.3: the profiles that name DTLS.
fn is_dtls_srtp(protocol: &str) -> bool {
    matches!(
        protocol,
        "UDP/TLS/RTP/SAVPF" | "UDP/TLS/RTP/SAVP" | "TCP/DTLS/RTP/SAVPF" | "TCP/DTLS/RTP/SAVP" | "TCP/TLS/RTP/SAVPF"
    )
}

pub(crate) fn muxes_rtcp(media: &MediaDescription) -> bool {
    media.section.rtcp_mux() || media.section.rtcp_mux_only()
}

/// Whether we can take an offered section at all, the bundle aside.
pub(crate) fn is_acceptable(config: &Config, media: &MediaDescription) -> bool {
    if media.is_rejected() {
        return false;
    }
    match Content::of(media) {
        Content::Data => true,
        Content::Unknown => false,
        Content::Media(kind) => {
            let ours = config.capabilities.codecs(kind);
            muxes_rtcp(media)
                && Format::of(media)
                    .iter()
                    .any(|offered| ours.iter().any(|capability| capability.takes(offered)))
        }
    }
}

/// The sections of an offer that go on our one transport, and the one among them whose transport attributes count.
///
/// All of them are in one BUNDLE group; a section outside it is answered with port 0, for there is no second transport.
/// Of several groups, and sections in none, that one is taken which is in force already, else the one with most
/// sections, else the first.
pub(crate) fn offered_members(
    config: &Config,
    description: &SessionDescription,
    in_force: &[String],
) -> (Vec<usize>, Option<usize>) {
    let media = &description.media;
    let acceptable: Vec<usize> = (0..media.len())
        .filter(|&index| is_acceptable(config, &media[index]))
        .collect();
    let mut choices: Vec<Vec<usize>> = Vec::new();
    let mut grouped = vec![false; media.len()];
    for group in bundles(description) {
        let members: Vec<usize> = acceptable
            .iter()
            .copied()
            .filter(|&index| !grouped[index] && media[index].section.mid().is_some_and(|mid| group.contains(mid)))
            .collect();
        members.iter().for_each(|&index| grouped[index] = true);
        choices.push(members);
    }
    // RFC 9143 §6: a bundle-only section lives in a bundle or not at all.
    let alone = |index: &usize| !grouped[*index] && media[*index].line.port() != 0;
    choices.extend(acceptable.iter().copied().filter(alone).map(|index| vec![index]));
    let runs = |index: &usize| {
        media[*index]
            .section
            .mid()
            .is_some_and(|mid| in_force.iter().any(|own| own == mid))
    };
    // `max_by_key` gives the last of equals, so it looks from the end.
    let members = choices
        .into_iter()
        .rev()
        .filter(|members| !members.is_empty())
        .max_by_key(|members| (members.iter().any(runs), members.len()))
        .unwrap_or_default();
    let tagged = tagged_of(description, &members);
    (members, tagged)
}

/// How many BUNDLE groups are looked at.
const MAX_GROUPS: usize = 16;

fn bundles(description: &SessionDescription) -> impl Iterator<Item = BTreeSet<&str>> {
    description
        .session
        .groups()
        .filter(|group| group.semantics == "BUNDLE")
        .take(MAX_GROUPS)
        .map(|group| group.mids().collect())
}

/// The mids of the BUNDLE group that section `index` is in.
pub(crate) fn bundle_of(description: &SessionDescription, index: usize) -> Option<BTreeSet<&str>> {
    let mid = description.media.get(index)?.section.mid()?;
    bundles(description).find(|mids| mids.contains(mid))
}

/// RFC 9143 §7.1: the first mid of the group that has a transport of its own; else the first member.
fn tagged_of(description: &SessionDescription, members: &[usize]) -> Option<usize> {
    let by_mid = |mid: &str| {
        members
            .iter()
            .copied()
            .find(|&index| description.media[index].section.mid() == Some(mid))
    };
    description
        .session
        .groups()
        .filter(|group| group.semantics == "BUNDLE")
        .take(MAX_GROUPS)
        .flat_map(|group| group.mids().take(MAX_SECTIONS))
        .filter_map(by_mid)
        .find(|&index| !description.media[index].section.bundle_only())
        .or_else(|| members.first().copied())
}

/// The accepted sections of an answer, checked to share one transport, and the tagged one.
pub(crate) fn answered_members(description: &SessionDescription) -> Result<(Vec<usize>, Option<usize>), JsepError> {
    let members: Vec<usize> = (0..description.media.len())
        .filter(|&index| !description.media[index].is_rejected())
        .collect();
    let Some(&first) = members.first() else {
        return Ok((members, None));
    };
    let group = bundle_of(description, first);
    if let Some(group) = &group {
        for &mid in group {
            let named = description.media_by_mid(mid);
            if named.is_none_or(|(_, media)| media.is_rejected()) {
                return Err(JsepError::BundleGroup {
                    mid: mid.chars().take(32).collect(),
                });
            }
        }
    }
    for &index in &members[1..] {
        let mid = description.media[index].section.mid();
        if !mid.is_some_and(|mid| group.as_ref().is_some_and(|group| group.contains(mid))) {
            return Err(JsepError::NotBundled {
                mid: label(description, index),
            });
        }
    }
    for &index in &members {
        let media = &description.media[index];
        if matches!(Content::of(media), Content::Media(_)) && !muxes_rtcp(media) {
            return Err(JsepError::NoRtcpMux {
                mid: label(description, index),
            });
        }
    }
    let tagged = tagged_of(description, &members);
    Ok((members, tagged))
}

/// An attribute of the section, else of the session.
fn inherited<'a, T>(
    description: &'a SessionDescription,
    index: usize,
    read: impl Fn(&'a Section) -> Option<T>,
) -> Option<T> {
    read(&description.media[index].section).or_else(|| read(&description.session))
}

/// The `a=setup` in force for a section.
pub(crate) fn setup(description: &SessionDescription, index: usize) -> Option<Setup> {
    inherited(description, index, Section::setup)
}

/// The ICE credentials in force for a section, unchecked.
pub(crate) fn credentials(description: &SessionDescription, index: usize) -> Option<IceParameters> {
    Some(IceParameters {
        ufrag: inherited(description, index, Section::ice_ufrag)?.to_owned(),
        pwd: inherited(description, index, Section::ice_pwd)?.to_owned(),
    })
}

/// The fingerprints in force for a section.
pub(crate) fn fingerprints(description: &SessionDescription, index: usize) -> Vec<Fingerprint> {
    let read = |section: &Section| -> Option<Vec<Fingerprint>> {
        let list: Vec<_> = section
            .fingerprints()
            .take(MAX_FINGERPRINTS)
            .map(Fingerprint::from)
            .collect();
        (!list.is_empty()).then_some(list)
    };
    read(&description.media[index].section)
        .or_else(|| read(&description.session))
        .unwrap_or_default()
}

/// The sections for media among `members` that have no `a=cryptex`, neither themselves nor from the session.
fn without_cryptex<'a>(description: &'a SessionDescription, members: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    members.iter().copied().filter(|&index| {
        let media = &description.media[index];
        matches!(Content::of(media), Content::Media(_)) && !media.section.cryptex() && !description.session.cryptex()
    })
}

/// Whether the peer takes encrypted header extensions on our transport (RFC 9335 §4): it says so, we have not disabled
/// it, and where it answers, we asked. `ours` is what it knows of us: our offer, or what was in force before its own.
///
/// # Errors
/// [`JsepError::NoHeaderEncryption`], if the media would go with header extensions in the clear and must not.
pub(crate) fn header_encryption(
    config: &Config,
    kind: SdpType,
    description: &SessionDescription,
    ours: Option<&SessionDescription>,
    members: &[usize],
) -> Result<bool, JsepError> {
    let media = |index: &usize| matches!(Content::of(&description.media[*index]), Content::Media(_));
    let asked = kind == SdpType::Offer
        || ours.is_some_and(|ours| {
            let mut sections = ours.media.iter().map(|media| &media.section);
            ours.session.cryptex() || sections.any(Section::cryptex)
        });
    let copied = || ours.is_some_and(|ours| any_copied(ours, description));
    let clear = without_cryptex(description, members).next();
    match config.header_encryption {
        HeaderEncryptionPolicy::Disable => Ok(false),
        HeaderEncryptionPolicy::Require => match clear.or_else(|| members.iter().copied().find(|_| copied())) {
            Some(index) => Err(JsepError::NoHeaderEncryption {
                mid: label(description, index),
            }),
            None => Ok(members.iter().any(media)),
        },
        HeaderEncryptionPolicy::Accept | HeaderEncryptionPolicy::Negotiate => {
            Ok(asked && members.iter().any(media) && clear.is_none() && !copied())
        }
    }
}

/// Whether the peer has copied lines of ours anywhere.
pub(crate) fn any_copied(ours: &SessionDescription, theirs: &SessionDescription) -> bool {
    (0..theirs.media.len()).any(|index| copies(ours, theirs, index))
}

/// Whether the peer has copied lines of ours into its section instead of saying what it does itself. Our SSRCs and
/// `a=tls-id` are drawn at random, so nobody has them by chance; our `a=msid` may be anybody's, but not of a section
/// that sends nothing.
pub(crate) fn copies(ours: &SessionDescription, theirs: &SessionDescription, index: usize) -> bool {
    let (Some(our), Some(their)) = (ours.media.get(index), theirs.media.get(index)) else {
        return false;
    };
    let sources = |section: &Section| -> BTreeSet<u32> {
        let of_groups = section.ssrc_groups().flat_map(|group| group.ssrcs);
        section.ssrcs().map(|line| line.ssrc).chain(of_groups).collect()
    };
    let same_tls_id = our
        .section
        .tls_id()
        .is_some_and(|own| their.section.tls_id() == Some(own));
    let msid_of_nothing = || {
        let own: Vec<_> = our.section.msids().collect();
        !theirs.direction_of(their).sends() && their.section.msids().any(|msid| own.contains(&msid))
    };
    same_tls_id || !sources(&our.section).is_disjoint(&sources(&their.section)) || msid_of_nothing()
}

/// What the peer says of its transport in the tagged section.
pub(crate) fn remote_transport(
    description: &SessionDescription,
    tagged: usize,
    header_encryption: bool,
) -> Result<RemoteTransport, JsepError> {
    let mid = || label(description, tagged);
    // RFC 8839 §5.4: 4 to 256 characters, and 22 to 256.
    let ice = credentials(description, tagged)
        .filter(|ice| (4..=256).contains(&ice.ufrag.len()) && (22..=256).contains(&ice.pwd.len()))
        .ok_or_else(|| JsepError::IceCredentials { mid: mid() })?;
    let fingerprints = fingerprints(description, tagged);
    if fingerprints.is_empty() {
        return Err(JsepError::NoFingerprint { mid: mid() });
    }
    let section = &description.media[tagged].section;
    let mut ice_options: Vec<String> = Vec::new();
    for option in description.session.ice_options().chain(section.ice_options()) {
        if ice_options.len() < MAX_ICE_OPTIONS && !ice_options.iter().any(|own| own == option) {
            ice_options.push(option.to_owned());
        }
    }
    Ok(RemoteTransport {
        ice,
        lite: description.session.ice_lite() || section.ice_lite(),
        ice_options,
        fingerprints,
        tls_id: inherited(description, tagged, Section::tls_id).map(str::to_owned),
        header_encryption,
    })
}

//! What is negotiated with a publisher or a watcher, and whether an offer can be taken whole: RFC 9725 §4.2 and its WHEP
//! counterpart want no answer that takes a part.

use antiphon::{
    Accepts, Codec, CodecCapability, Direction, MediaCapabilities, MediaKind, OfferedContent, OfferedSection,
};
use antiphon_sfu::is_beside;

use super::matching::list;
use super::track::MAX_TRACKS;

const REDUNDANCY: [&str; 5] = ["red", "ulpfec", "flexfec", "flexfec-03", "parityfec"];
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";

/// What a watcher can be sent, with the header extensions that are carried on.
fn watched() -> MediaCapabilities {
    let mut all = MediaCapabilities::forwarding();
    // Whatever comes of layers, a watcher gets one stream.
    all.video_extensions
        .retain(|extension| ![RID, REPAIRED_RID].contains(&extension.uri.as_str()));
    all
}

/// Whether the offerer wants to send on a section.
fn sends(section: &OfferedSection) -> bool {
    !section.rejected && matches!(section.direction, Direction::SendOnly | Direction::SendRecv)
}

/// Whether a stream of this codec can be a track. Audio is forwarded as it is, whatever it is. Of video we must know where a frame
/// can begin; and redundancy names other payload types, which change from hop to hop.
fn is_media(all: &MediaCapabilities, kind: MediaKind, codec: &Codec) -> bool {
    match kind {
        MediaKind::Audio => !is_beside(codec) && !is_redundancy(codec),
        MediaKind::Video => all
            .video
            .iter()
            .any(|known| known.name.eq_ignore_ascii_case(&codec.name) && known.clock_rate == codec.clock_rate),
    }
}

fn is_redundancy(codec: &Codec) -> bool {
    REDUNDANCY.iter().any(|name| codec.name.eq_ignore_ascii_case(name))
}

/// What to negotiate with a publisher: all of its codecs that can be forwarded, in whichever configuration it offers them.
///
/// # Errors
/// Why the offer cannot be taken whole.
pub(in crate::server) fn publishing(sections: &[OfferedSection]) -> Result<MediaCapabilities, String> {
    // All layers: those of simulcast by RID, those of one stream by the descriptor, which AV1 does not tell in another way.
    let mut all = MediaCapabilities::forwarding().with_dependency_descriptor();
    let mut tracks = 0;
    for section in sections.iter().filter(|section| !section.rejected) {
        let kind = match section.content {
            OfferedContent::Media(kind) => kind,
            OfferedContent::Data => continue,
            OfferedContent::Unknown => {
                return Err(format!(
                    "section {} is neither audio nor video nor data channels, and an offer is taken whole or not at all",
                    section.label
                ));
            }
        };
        if !sends(section) {
            continue;
        }
        if !section.codecs.iter().any(|codec| is_media(&all, kind, codec)) {
            return Err(format!(
                "no codec of section {} can be forwarded: offered was {}; of video VP8, VP9, H264, H265, H266 and AV1 \
                 can, of audio all but redundancy",
                section.label,
                list(&section.codecs),
            ));
        }
        tracks += 1;
    }
    match tracks {
        0 => return Err("no section of the offer sends audio or video".into()),
        1..=MAX_TRACKS => {}
        _ => {
            return Err(format!(
                "{tracks} tracks are offered, and at most {MAX_TRACKS} are taken"
            ));
        }
    }
    all.audio = audio_of(sections, &all);
    Ok(all)
}

/// The audio codecs of an offer, as they are: what the publisher says of them (stereo, bitrates) is what we want of it.
fn audio_of(sections: &[OfferedSection], all: &MediaCapabilities) -> Vec<CodecCapability> {
    let mut audio: Vec<CodecCapability> = Vec::new();
    let Some(like) = all.audio.first() else { return audio };
    let offered = sections
        .iter()
        .filter(|section| section.content == OfferedContent::Media(MediaKind::Audio))
        .flat_map(|section| &section.codecs);
    for codec in offered.filter(|codec| !is_redundancy(codec)) {
        let known = audio.iter().any(|own| {
            own.name.eq_ignore_ascii_case(&codec.name)
                && own.clock_rate == codec.clock_rate
                && own.channels.unwrap_or(1) == codec.channels.unwrap_or(1)
        });
        if known || audio.len() == 128 {
            continue;
        }
        audio.push(CodecCapability {
            payload_type: codec.payload_type,
            name: codec.name.clone(),
            clock_rate: codec.clock_rate,
            channels: codec.channels,
            parameters: wanted(codec),
            rtx_payload_type: None,
            accepts: Accepts::Any,
            ..like.clone()
        });
    }
    audio
}

/// The parameters by which we ask for an audio stream as its sender would like to send it: its own, without those that describe the
/// sender; stereo, if it says that it has stereo (RFC 7587 §6.1).
fn wanted(codec: &Codec) -> String {
    let pairs = || {
        codec
            .parameters
            .split(';')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
    };
    let mut own: Vec<&str> = pairs().filter(|pair| !pair.starts_with("sprop-")).collect();
    if pairs().any(|pair| pair == "sprop-stereo=1") && !own.iter().any(|pair| pair.starts_with("stereo=")) {
        own.push("stereo=1");
    }
    own.join(";")
}

/// What to negotiate with a watcher that is to be sent these codecs: no others of their kinds.
pub(in crate::server) fn playing<'a>(codecs: impl Iterator<Item = (MediaKind, &'a Codec)>) -> MediaCapabilities {
    let codecs: Vec<(MediaKind, &Codec)> = codecs.collect();
    let mut all = watched();
    // Of AV1 with several spatial layers Chromium shows nothing without.
    if codecs.iter().any(|(_, codec)| codec.name.eq_ignore_ascii_case("AV1")) {
        all = all.with_dependency_descriptor();
    }
    let mut own = MediaCapabilities {
        audio: Vec::new(),
        video: Vec::new(),
        ..all.clone()
    };
    for (kind, codec) in codecs {
        let (to, like) = match kind {
            MediaKind::Audio => (&mut own.audio, all.audio.first()),
            MediaKind::Video => (&mut own.video, all.video.first()),
        };
        if let Some(like) = like {
            to.push(CodecCapability::forwarding(codec, like));
        }
    }
    // For sections of a kind that nothing is sent of: they are answered as inactive.
    if own.audio.is_empty() {
        own.audio = all.audio;
    }
    if own.video.is_empty() {
        own.video = all.video;
    }
    own
}

/// Whether an answer takes every section of the offer that it must.
///
/// # Errors
/// Which one it does not take.
pub(in crate::server) fn check_answer(
    offered: &[OfferedSection],
    answer: &[OfferedSection],
    must: impl Fn(usize) -> bool,
) -> Result<(), String> {
    for (index, (theirs, ours)) in offered.iter().zip(answer).enumerate() {
        if !theirs.rejected && ours.rejected && must(index) {
            return Err(format!(
                "section {} cannot be taken: it is outside the BUNDLE group, or has no a=rtcp-mux, no DTLS or no codec in common; and \
                 an offer is taken whole or not at all",
                theirs.label
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

    fn read(sections: &str) -> Vec<OfferedSection> {
        OfferedSection::read(&format!("{HEAD}{sections}")).unwrap()
    }

    #[test]
    fn mend11_an_offer_to_publish_is_taken_whole_or_refused_with_a_reason() {
        let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:a\r\na=sendonly\r\na=rtpmap:111 OPUS/48000/2\r\n\
            a=fmtp:111 minptime=10;stereo=1;sprop-stereo=1\r\na=rtpmap:63 red/48000/2\r\n";
        let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=sendonly\r\na=rtpmap:96 h264/90000\r\n";
        let nameless = video.replace("a=mid:v\r\n", "");
        let taken = publishing(&read(&format!("{audio}{video}{nameless}"))).unwrap();
        assert_eq!(taken.audio.len(), 1, "{:?}", taken.audio);
        assert_eq!(taken.audio[0].parameters, "minptime=10;stereo=1");
        assert!(
            taken
                .video_extensions
                .iter()
                .any(|extension| extension.uri.contains("rtp-stream-id"))
        );
        for (sections, reason) in [
            (
                format!("{audio}{}", video.replace("h264", "theora")),
                "section v can be forwarded: offered was theora",
            ),
            (audio.replace("111 63", "63"), "offered was red"),
            (
                format!("{audio}m=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:t\r\n"),
                "section t is neither",
            ),
            (audio.replace("sendonly", "recvonly"), "no section"),
            (nameless.repeat(MAX_TRACKS + 1), "at most 16"),
        ] {
            let refusal = publishing(&read(&sections)).unwrap_err();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn stereo_is_asked_of_who_has_it() {
        let opus = |parameters: &str| Codec {
            payload_type: 111,
            name: "opus".into(),
            clock_rate: 48_000,
            channels: Some(2),
            parameters: parameters.into(),
            sender_parameters: String::new(),
            feedback: Vec::new(),
            rtx: None,
        };
        assert_eq!(
            wanted(&opus("sprop-stereo=1; useinbandfec=1")),
            "useinbandfec=1;stereo=1"
        );
        assert_eq!(wanted(&opus("sprop-stereo=0;sprop-maxcapturerate=48000")), "");
    }
}

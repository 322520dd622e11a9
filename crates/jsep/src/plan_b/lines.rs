//! What the two ways of translating ask of a line.

use antiphon_sdp::Line;

/// Whether a line is an attribute of one of these names.
pub(super) fn is_any(line: &Line, names: &[&str]) -> bool {
    line.name_and_value().is_some_and(|(name, _)| names.contains(&name))
}

/// The payload type that a line speaks of, if it speaks of one or of all.
pub(super) fn format_of(line: &Line) -> Option<&str> {
    let (name, value) = line.name_and_value()?;
    let speaks = matches!(name, "rtpmap" | "fmtp" | "rtcp-fb");
    value.filter(|_| speaks)?.split_ascii_whitespace().next()
}

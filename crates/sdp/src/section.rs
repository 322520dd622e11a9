//! The lines of one level of a description, and typed access to its attributes.

use std::fmt::{self, Write as _};

use nom::character::complete::{char, space1};
use nom::sequence::separated_pair;

use crate::attribute::{
    Attribute, Candidate, Direction, ExtMap, Fingerprint, Fmtp, Group, Msid, Rid, Rtcp, RtcpFeedback, RtpMap, Setup,
    Simulcast, Ssrc, SsrcGroup,
};
use crate::grammar::{self, decimal, token, whole, word};
use crate::text::Text;

/// How a line ended in the text that was read, so that it is written back the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// CR LF, as RFC 8866 §5 asks for, and as everything is written that this crate makes.
    #[default]
    CrLf,
    /// A bare LF, which RFC 8866 §5 asks parsers to accept.
    Lf,
    /// The text stopped.
    None,
}

impl Ending {
    /// The bytes of the ending.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CrLf => "\r\n",
            Self::Lf => "\n",
            Self::None => "",
        }
    }
}

/// One `<letter>=<value>` line, exactly as it was read.
///
/// The text itself is kept; [`Line::attribute`] types it when asked. So nothing is lost, whatever a peer may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub(crate) letter: u8,
    pub(crate) ending: Ending,
    pub(crate) value: Text,
}

impl Line {
    /// A line to be written, ended with CR LF. `value` must hold neither CR, LF nor NUL: they are replaced by spaces, so
    /// that no application text can inject a line.
    pub fn new(letter: char, value: impl Into<String>) -> Self {
        let mut value: String = value.into();
        if value.contains(['\r', '\n', '\0']) {
            value = value.replace(['\r', '\n', '\0'], " ");
        }
        debug_assert!(letter.is_ascii_alphabetic(), "a type is one letter");
        Self {
            letter: letter as u8,
            ending: Ending::CrLf,
            value: value.into(),
        }
    }

    /// The type letter; `'\0'` for a blank line at the end of the text.
    pub fn letter(&self) -> char {
        char::from(self.letter)
    }

    /// Everything after the `=`.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// How the line ended.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// For an `a=` line: its name, and its value if there is a colon, without blanks at its end.
    pub fn name_and_value(&self) -> Option<(&str, Option<&str>)> {
        (self.letter == b'a').then(|| grammar::split_attribute(&self.value))
    }

    /// For an `a=` line: the typed attribute. What does not follow its grammar comes as [`Attribute::Malformed`], what
    /// this crate has no type for as [`Attribute::Other`].
    pub fn attribute(&self) -> Option<Attribute<'_>> {
        (self.letter == b'a').then(|| Attribute::parse(&self.value))
    }

    pub(crate) fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        if self.letter != 0 {
            out.write_char(char::from(self.letter))?;
            out.write_char('=')?;
            out.write_str(&self.value)?;
        }
        out.write_str(self.ending.as_str())
    }
}

/// A `c=` line (RFC 8866 §5.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection<'a> {
    /// The network: `IN` for the Internet.
    pub network_type: &'a str,
    /// `IP4` or `IP6`.
    pub address_type: &'a str,
    /// The address, with multicast suffixes if there are any.
    pub address: &'a str,
}

impl<'a> Connection<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (network_type, _, address_type, _, address) = whole((word, space1, word, space1, word), text.trim_end())?;
        Some(Self {
            network_type,
            address_type,
            address,
        })
    }
}

/// A `b=` line (RFC 8866 §5.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bandwidth<'a> {
    /// `AS` (kilobits per second with all headers), `TIAS` (bits per second without lower headers, RFC 3890), ...
    pub kind: &'a str,
    /// The number, in the unit of its kind.
    pub value: u64,
}

impl<'a> Bandwidth<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (kind, value) = whole(separated_pair(token, char(':'), decimal), text.trim_end())?;
        Some(Self { kind, value })
    }
}

/// The lines of the session level, or those below one `m=` line, with typed access to the attributes.
///
/// Accessors named in the singular give the first attribute of that name that follows its grammar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    pub(crate) lines: Vec<Line>,
}

impl Section {
    /// No lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every line, in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Appends a line.
    pub fn push(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Appends `a=<attribute>`.
    pub fn add(&mut self, attribute: &Attribute<'_>) {
        let mut value = String::with_capacity(64);
        // Writing to a String cannot fail.
        let _ = write!(value, "{attribute}");
        self.push(Line::new('a', value));
    }

    /// Appends `a=<name>`.
    pub fn add_flag(&mut self, name: &str) {
        self.push(Line::new('a', name));
    }

    /// Appends `a=<name>:<value>`.
    pub fn add_value(&mut self, name: &str, value: impl fmt::Display) {
        self.push(Line::new('a', format!("{name}:{value}")));
    }

    /// Inserts `a=<name>:<value>` at `index` among the lines.
    pub fn insert(&mut self, index: usize, line: Line) {
        self.lines.insert(index.min(self.lines.len()), line);
    }

    /// Keeps only the lines for which `keep` holds.
    pub fn retain(&mut self, keep: impl FnMut(&Line) -> bool) {
        self.lines.retain(keep);
    }

    /// The typed attributes, in order.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        self.lines.iter().filter_map(Line::attribute)
    }

    /// The values of every attribute called `name` (`""` for those without a value), in order, without blanks around them.
    /// Names are case-sensitive (RFC 8866 §5.13).
    pub fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.lines.iter().filter_map(move |line| {
            if line.letter != b'a' {
                return None;
            }
            let rest = line.value.strip_prefix(name)?.trim_end_matches(grammar::BLANKS);
            if rest.is_empty() {
                return Some("");
            }
            rest.strip_prefix(':')
                .map(|value| value.trim_start_matches(grammar::BLANKS))
        })
    }

    /// The value of the first attribute called `name`.
    pub fn value<'s>(&'s self, name: &'s str) -> Option<&'s str> {
        self.values(name).next()
    }

    /// Whether there is an attribute called `name`, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The `c=` line.
    pub fn connection(&self) -> Option<Connection<'_>> {
        self.letter_values(b'c').find_map(Connection::parse)
    }

    /// The `b=` lines (RFC 8866 §5.8).
    pub fn bandwidths(&self) -> impl Iterator<Item = Bandwidth<'_>> {
        self.letter_values(b'b').filter_map(Bandwidth::parse)
    }

    fn letter_values(&self, letter: u8) -> impl Iterator<Item = &str> {
        self.lines
            .iter()
            .filter(move |line| line.letter == letter)
            .map(|line| &*line.value)
    }

    /// `a=ice-ufrag` (RFC 8839 §5.4).
    pub fn ice_ufrag(&self) -> Option<&str> {
        self.value("ice-ufrag")
    }

    /// `a=ice-pwd` (RFC 8839 §5.4).
    pub fn ice_pwd(&self) -> Option<&str> {
        self.value("ice-pwd")
    }

    /// The words of `a=ice-options` (RFC 8839 §5.6). Words outside the ABNF are handed over too: browsers write some. Older
    /// peers put commas between them, which no word has.
    pub fn ice_options(&self) -> impl Iterator<Item = &str> {
        self.values("ice-options")
            .flat_map(|value| value.split([' ', '\t', ',']))
            .filter(|word| !word.is_empty())
    }

    /// `a=ice-lite` (RFC 8839 §5.3).
    pub fn ice_lite(&self) -> bool {
        self.has("ice-lite")
    }

    /// Every `a=candidate` that follows its grammar (RFC 8839 §5.1).
    pub fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        self.values("candidate").filter_map(Candidate::parse)
    }

    /// `a=end-of-candidates` (RFC 8840 §8.2).
    pub fn end_of_candidates(&self) -> bool {
        self.has("end-of-candidates")
    }

    /// Every `a=fingerprint` (RFC 8122 §5): there may be several, and any one may match.
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint<'_>> {
        self.values("fingerprint").filter_map(Fingerprint::parse)
    }

    /// `a=setup` (RFC 8842 §5).
    pub fn setup(&self) -> Option<Setup> {
        self.values("setup").find_map(Setup::parse)
    }

    /// `a=tls-id` (RFC 8842 §4).
    pub fn tls_id(&self) -> Option<&str> {
        self.value("tls-id")
    }

    /// Every `a=group` (RFC 5888 §5).
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.values("group").filter_map(Group::parse)
    }

    /// `a=mid` (RFC 5888 §4).
    pub fn mid(&self) -> Option<&str> {
        self.value("mid").filter(|mid| !mid.is_empty())
    }

    /// Every `a=msid` (RFC 8830 §2).
    pub fn msids(&self) -> impl Iterator<Item = Msid<'_>> {
        self.values("msid").filter_map(Msid::parse)
    }

    /// The direction attribute that stands here (RFC 8866 §6.7); the first one, should there be several.
    pub fn direction(&self) -> Option<Direction> {
        self.lines
            .iter()
            .filter(|line| line.letter == b'a')
            .find_map(|line| Direction::parse(&line.value))
    }

    /// Every `a=rtpmap` (RFC 8866 §6.6).
    pub fn rtpmaps(&self) -> impl Iterator<Item = RtpMap<'_>> {
        self.values("rtpmap").filter_map(RtpMap::parse)
    }

    /// Every `a=fmtp` whose format is a payload type (RFC 8866 §6.15).
    pub fn fmtps(&self) -> impl Iterator<Item = Fmtp<'_>> {
        self.values("fmtp").filter_map(Fmtp::parse)
    }

    /// Every `a=rtcp-fb` (RFC 4585 §4.2), wildcards included.
    pub fn rtcp_feedback(&self) -> impl Iterator<Item = RtcpFeedback<'_>> {
        self.values("rtcp-fb").filter_map(RtcpFeedback::parse)
    }

    /// Every `a=extmap` (RFC 8285 §8).
    pub fn extmaps(&self) -> impl Iterator<Item = ExtMap<'_>> {
        self.values("extmap").filter_map(ExtMap::parse)
    }

    /// `a=extmap-allow-mixed` (RFC 8285 §6).
    pub fn extmap_allow_mixed(&self) -> bool {
        self.has("extmap-allow-mixed")
    }

    /// `a=rtcp` (RFC 3605 §2.1).
    pub fn rtcp(&self) -> Option<Rtcp<'_>> {
        self.values("rtcp").find_map(Rtcp::parse)
    }

    /// `a=rtcp-mux` (RFC 5761 §5.1.1).
    pub fn rtcp_mux(&self) -> bool {
        self.has("rtcp-mux")
    }

    /// `a=rtcp-mux-only` (RFC 8858 §3).
    pub fn rtcp_mux_only(&self) -> bool {
        self.has("rtcp-mux-only")
    }

    /// `a=rtcp-rsize` (RFC 5506 §5).
    pub fn rtcp_reduced_size(&self) -> bool {
        self.has("rtcp-rsize")
    }

    /// Every `a=ssrc` (RFC 5576 §4.1).
    pub fn ssrcs(&self) -> impl Iterator<Item = Ssrc<'_>> {
        self.values("ssrc").filter_map(Ssrc::parse)
    }

    /// Every `a=ssrc-group` (RFC 5576 §4.2).
    pub fn ssrc_groups(&self) -> impl Iterator<Item = SsrcGroup<'_>> {
        self.values("ssrc-group").filter_map(SsrcGroup::parse)
    }

    /// Every `a=rid` (RFC 8851 §4).
    pub fn rids(&self) -> impl Iterator<Item = Rid<'_>> {
        self.values("rid").filter_map(Rid::parse)
    }

    /// `a=simulcast` (RFC 8853 §5.1).
    pub fn simulcast(&self) -> Option<Simulcast<'_>> {
        self.values("simulcast").find_map(Simulcast::parse)
    }

    /// `a=sctp-port` (RFC 8841 §5).
    pub fn sctp_port(&self) -> Option<u16> {
        self.values("sctp-port").find_map(grammar::number)
    }

    /// `a=max-message-size` in bytes; 0 means any size (RFC 8841 §6).
    pub fn max_message_size(&self) -> Option<u64> {
        self.values("max-message-size").find_map(grammar::number)
    }

    /// `a=sctp-init`: a base64 INIT chunk (draft-hancke-tsvwg-snap), undecoded.
    pub fn sctp_init(&self) -> Option<&str> {
        self.value("sctp-init")
    }

    /// `a=bundle-only` (RFC 9143 §6).
    pub fn bundle_only(&self) -> bool {
        self.has("bundle-only")
    }

    /// `a=ptime` in milliseconds (RFC 8866 §6.4).
    pub fn ptime(&self) -> Option<u32> {
        self.values("ptime").find_map(grammar::number)
    }

    /// `a=maxptime` in milliseconds (RFC 8866 §6.5).
    pub fn maxptime(&self) -> Option<u32> {
        self.values("maxptime").find_map(grammar::number)
    }

    /// `a=cryptex` (RFC 9335 §4).
    pub fn cryptex(&self) -> bool {
        self.has("cryptex")
    }
}

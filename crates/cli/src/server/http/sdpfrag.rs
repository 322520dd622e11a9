//! `application/trickle-ice-sdpfrag` (RFC 8840 §9): candidates between two HTTP ends.

use antiphon::RtcIceCandidateInit;

/// Candidates in one fragment.
const MAX_CANDIDATES: usize = 64;

/// What a fragment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Fragment {
    pub(in crate::server) ufrag: Option<String>,
    pub(in crate::server) candidates: Vec<RtcIceCandidateInit>,
    pub(in crate::server) end: bool,
}

/// Reads a fragment. `None` if it is not one, or too long.
pub(in crate::server) fn parse(text: &str) -> Option<Fragment> {
    let mut fragment = Fragment::default();
    let mut index: Option<u16> = None;
    let mut mid: Option<String> = None;
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        let (kind, value) = line.split_once('=')?;
        match kind {
            "m" => {
                index = Some(index.map_or(0, |n| n.saturating_add(1)));
                mid = None;
            }
            "a" => {
                let (name, value) = value.split_once(':').unwrap_or((value, ""));
                match name {
                    "ice-ufrag" => fragment.ufrag = Some(value.to_owned()),
                    "mid" => mid = Some(value.to_owned()),
                    "end-of-candidates" => fragment.end = true,
                    "candidate" => {
                        if fragment.candidates.len() == MAX_CANDIDATES {
                            return None;
                        }
                        fragment.candidates.push(RtcIceCandidateInit {
                            candidate: format!("candidate:{value}"),
                            sdp_m_line_index: if mid.is_none() { Some(index.unwrap_or(0)) } else { None },
                            sdp_mid: mid.clone(),
                            username_fragment: fragment.ufrag.clone(),
                        });
                    }
                    // RFC 8840 §9.2: ice-options, ice-pacing, group, and whatever comes later.
                    _ => {}
                }
            }
            _ if kind.len() == 1 => {}
            _ => return None,
        }
    }
    Some(fragment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_know_their_section() {
        let text = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
            a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\na=end-of-candidates\r\n";
        let fragment = parse(text).unwrap();
        assert_eq!(fragment.ufrag.as_deref(), Some("EsAw"));
        assert!(fragment.end);
        let [candidate] = &fragment.candidates[..] else {
            panic!()
        };
        assert_eq!(candidate.sdp_mid.as_deref(), Some("0"));
        assert!(candidate.candidate.starts_with("candidate:1387637174 1 udp"));
        assert_eq!(candidate.username_fragment.as_deref(), Some("EsAw"));
    }

    #[test]
    fn not_a_fragment() {
        assert!(parse("hello").is_none());
        assert!(parse("candidate=1").is_none());
        assert!(parse(&"a=candidate:1\r\n".repeat(MAX_CANDIDATES + 1)).is_none());
        assert_eq!(parse(""), Some(Fragment::default()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).*") {
            _ = parse(&text);
        }
    }
}

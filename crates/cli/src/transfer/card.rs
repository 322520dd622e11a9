//! An end's half of a meeting as one short line: what a session description for data says, and nothing else.
//!
//! ```text
//!  0         version 1 and kind (0 offer, 1 answer: bit 7)
//!  1         length of the user fragment, then it; length of the password, then it
//!  ..        32 bytes: SHA-256 of the certificate
//!  ..        number of candidates, then each:
//!              type (0 host, 1 srflx, 2 prflx, 3 relay; bit 7: IPv6), priority (4), port (2), address (4 or 16)
//!  last 4    the first bytes of the SHA-256 of all before: a slip of the mouse is noticed
//! ```
//!
//! The line is base64url. It is as secret as a password until the two have met: whoever holds both lines can be either end.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Candidates on a card; those of lowest priority are left out.
const MAX_CANDIDATES: usize = 12;
const TYPES: [&str; 4] = ["host", "srflx", "prflx", "relay"];

/// Why a line is no card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// Not base64url, cut short, or changed on the way.
    #[error("this is not a whole code: copy it again")]
    Damaged,
    /// From another version of the program.
    #[error("this code is from another version")]
    Version,
    /// An offer where an answer is wanted, or the other way round.
    #[error("this is the wrong one of the two codes")]
    Kind,
    /// Our own description lacks something: not for data, or no fingerprint.
    #[error("this description is not for data alone")]
    Description,
}

/// One end's half of a meeting.
#[derive(Clone, PartialEq, Eq)]
pub struct Card {
    offer: bool,
    ufrag: String,
    password: String,
    fingerprint: [u8; 32],
    candidates: Vec<(u8, u32, SocketAddr)>,
}

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Card")
            .field("offer", &self.offer)
            .field("candidates", &self.candidates.len())
            .finish_non_exhaustive()
    }
}

impl Card {
    /// From our own description with its candidates in it.
    ///
    /// # Errors
    /// [`CardError::Description`].
    pub fn from_sdp(offer: bool, sdp: &str) -> Result<Self, CardError> {
        let value = |name: &str| {
            sdp.lines()
                .find_map(|line| line.strip_prefix(name))
                .ok_or(CardError::Description)
        };
        let hex = value("a=fingerprint:sha-256 ")?;
        let mut fingerprint = [0; 32];
        let mut parts = hex.trim().split(':');
        for byte in &mut fingerprint {
            let part = parts.next().ok_or(CardError::Description)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| CardError::Description)?;
        }
        let mut candidates: Vec<_> = sdp
            .lines()
            .filter_map(|line| candidate(line.strip_prefix("a=candidate:")?))
            .collect();
        candidates.sort_by_key(|&(_, priority, _)| std::cmp::Reverse(priority));
        candidates.truncate(MAX_CANDIDATES);
        Ok(Self {
            offer,
            ufrag: value("a=ice-ufrag:")?.trim().to_owned(),
            password: value("a=ice-pwd:")?.trim().to_owned(),
            fingerprint,
            candidates,
        })
    }

    /// The description that the other end is given. `mid` is the one of the offer.
    pub fn to_sdp(&self) -> String {
        let mut fingerprint = String::with_capacity(95);
        for (at, byte) in self.fingerprint.iter().enumerate() {
            _ = write!(fingerprint, "{}{byte:02X}", if at == 0 { "" } else { ":" });
        }
        let setup = if self.offer { "actpass" } else { "active" };
        let mut sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:{setup}\r\n\
             a=sctp-port:5000\r\na=max-message-size:262144\r\n",
            self.ufrag, self.password
        );
        for (at, (kind, priority, addr)) in self.candidates.iter().enumerate() {
            let kind = TYPES[usize::from(*kind)];
            _ = write!(
                sdp,
                "a=candidate:{} 1 udp {priority} {} {} typ {kind}",
                at + 1,
                addr.ip(),
                addr.port()
            );
            // RFC 8839 §5.1 wants a related address where there is one; zeros stand for one that is not told.
            if kind != "host" {
                sdp.push_str(if addr.is_ipv4() {
                    " raddr 0.0.0.0 rport 9"
                } else {
                    " raddr :: rport 9"
                });
            }
            sdp.push_str("\r\n");
        }
        sdp.push_str("a=end-of-candidates\r\n");
        sdp
    }

    /// The line.
    pub fn encode(&self) -> String {
        let mut bytes = vec![1 | u8::from(!self.offer) << 7];
        for text in [&self.ufrag, &self.password] {
            // Our own are far shorter; RFC 8839 §5.4 allows 256.
            let text = &text.as_bytes()[..text.len().min(255)];
            bytes.push(text.len() as u8);
            bytes.extend_from_slice(text);
        }
        bytes.extend_from_slice(&self.fingerprint);
        bytes.push(self.candidates.len() as u8);
        for (kind, priority, addr) in &self.candidates {
            bytes.push(kind | u8::from(addr.is_ipv6()) << 7);
            bytes.extend_from_slice(&priority.to_be_bytes());
            bytes.extend_from_slice(&addr.port().to_be_bytes());
            match addr.ip() {
                IpAddr::V4(ip) => bytes.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
            }
        }
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check[..4]);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the line; spaces and line ends around and within it are nothing.
    ///
    /// # Errors
    /// Any [`CardError`].
    pub fn decode(offer: bool, line: &str) -> Result<Self, CardError> {
        let line: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(line).map_err(|_| CardError::Damaged)?;
        let (bytes, check) = bytes.split_last_chunk::<4>().ok_or(CardError::Damaged)?;
        if Sha256::digest(bytes)[..4] != check[..] {
            return Err(CardError::Damaged);
        }
        let mut rest = bytes;
        let head = take(&mut rest, 1)?[0];
        if head & 0x7f != 1 {
            return Err(CardError::Version);
        }
        if (head & 0x80 == 0) != offer {
            return Err(CardError::Kind);
        }
        let mut text = || -> Result<String, CardError> {
            let len = take(&mut rest, 1)?[0];
            let text = take(&mut rest, usize::from(len))?;
            // ice-char (RFC 8839 §5.4): nothing that could begin another line of the description.
            let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
            if !text.iter().all(plain) {
                return Err(CardError::Damaged);
            }
            String::from_utf8(text.to_vec()).map_err(|_| CardError::Damaged)
        };
        let (ufrag, password) = (text()?, text()?);
        let fingerprint = take(&mut rest, 32)?.try_into().map_err(|_| CardError::Damaged)?;
        let count = usize::from(take(&mut rest, 1)?[0]);
        if count > MAX_CANDIDATES {
            return Err(CardError::Damaged);
        }
        let mut candidates = Vec::with_capacity(count);
        for _ in 0..count {
            let head = take(&mut rest, 7)?;
            let kind = head[0] & 0x7f;
            if usize::from(kind) >= TYPES.len() {
                return Err(CardError::Damaged);
            }
            let priority = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let port = u16::from_be_bytes([head[5], head[6]]);
            let ip = if head[0] & 0x80 == 0 {
                let ip: [u8; 4] = take(&mut rest, 4)?.try_into().map_err(|_| CardError::Damaged)?;
                IpAddr::from(Ipv4Addr::from(ip))
            } else {
                let ip: [u8; 16] = take(&mut rest, 16)?.try_into().map_err(|_| CardError::Damaged)?;
                IpAddr::from(Ipv6Addr::from(ip))
            };
            candidates.push((kind, priority, SocketAddr::new(ip, port)));
        }
        if !rest.is_empty() {
            return Err(CardError::Damaged);
        }
        Ok(Self {
            offer,
            ufrag,
            password,
            fingerprint,
            candidates,
        })
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], CardError> {
    let (taken, after) = rest.split_at_checked(len).ok_or(CardError::Damaged)?;
    *rest = after;
    Ok(taken)
}

/// `foundation component transport priority address port typ type ...`; UDP with a plain address only.
fn candidate(text: &str) -> Option<(u8, u32, SocketAddr)> {
    let mut words = text.split_ascii_whitespace();
    let (_foundation, component, transport) = (words.next()?, words.next()?, words.next()?);
    if component != "1" || !transport.eq_ignore_ascii_case("udp") {
        return None;
    }
    let priority = words.next()?.parse().ok()?;
    let ip = IpAddr::from_str(words.next()?).ok()?;
    let port = words.next()?.parse().ok()?;
    let kind = words.nth(1)?;
    let kind = TYPES.iter().position(|known| *known == kind)?;
    Some((kind as u8, priority, SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn card() -> Card {
        Card {
            offer: true,
            ufrag: "aB+/".into(),
            password: "x".repeat(22),
            fingerprint: std::array::from_fn(|n| n as u8),
            candidates: vec![
                (0, 2_130_706_431, "192.0.2.1:5000".parse().unwrap()),
                (3, 7, "[2001:db8::1]:9".parse().unwrap()),
            ],
        }
    }

    #[test]
    fn there_and_back_by_line_and_by_description() {
        let card = card();
        let line = card.encode();
        assert!(line.len() < 200, "{} characters", line.len());
        assert_eq!(
            Card::decode(true, &format!(" {}\n{} ", &line[..70], &line[70..])).unwrap(),
            card
        );
        assert_eq!(Card::from_sdp(true, &card.to_sdp()).unwrap(), card);
        assert_eq!(Card::decode(false, &line), Err(CardError::Kind));
        assert_eq!(Card::decode(true, &line[1..]), Err(CardError::Damaged));
        let mut other = line.into_bytes();
        other[9] ^= 1;
        assert_eq!(
            Card::decode(true, std::str::from_utf8(&other).unwrap()),
            Err(CardError::Damaged)
        );
    }

    #[test]
    fn a_description_without_data_is_none() {
        assert_eq!(Card::from_sdp(true, "v=0\r\n"), Err(CardError::Description));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,400}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            _ = Card::decode(true, &text);
            let check = Sha256::digest(&bytes);
            let line = BASE64_URL_SAFE_NO_PAD.encode([&bytes[..], &check[..4]].concat());
            if let Ok(card) = Card::decode(false, &line) {
                prop_assert_eq!(card.encode(), line);
            }
        }
    }
}

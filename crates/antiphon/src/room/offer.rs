//! What an offer says besides what the connection below writes into it: limits that the room asks the client to keep.

/// What a client is asked to keep to, in what it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bits a second of each track (RFC 3890, `b=TIAS`).
    pub(super) max_bitrate: Option<u64>,
    /// Milliseconds of sound in a packet (RFC 8866 §6.4).
    pub(super) ptime: Option<u32>,
    /// The most sound in a packet, in milliseconds (RFC 8866 §6.5).
    pub(super) max_ptime: Option<u32>,
}

impl Limits {
    /// The offer with the limits written into each section that the client may send on.
    pub(super) fn write(self, sdp: &str) -> String {
        if self == Self::default() {
            return sdp.to_owned();
        }
        let mut text = String::with_capacity(sdp.len() + 256);
        let mut rest = sdp;
        while let Some(end) = rest.get(1..).and_then(|tail| tail.find("\r\nm=")) {
            // One for the character that was passed over, two for the end of the line.
            let (section, tail) = rest.split_at(end + 3);
            self.write_section(section, &mut text);
            rest = tail;
        }
        self.write_section(rest, &mut text);
        text
    }

    fn write_section(self, section: &str, text: &mut String) {
        let receives =
            section.starts_with("m=") && section.lines().any(|line| line == "a=recvonly" || line == "a=sendrecv");
        let limit = self.max_bitrate.filter(|_| receives);
        for line in section.split_inclusive("\r\n") {
            text.push_str(line);
            // RFC 8866 §5: the b= lines follow the c= line.
            if let Some(limit) = limit.filter(|_| line.starts_with("c=")) {
                text.push_str(&format!("b=TIAS:{limit}\r\n"));
            }
        }
        if receives && section.starts_with("m=audio") {
            for (name, value) in [("ptime", self.ptime), ("maxptime", self.max_ptime)] {
                if let Some(value) = value {
                    text.push_str(&format!("a={name}:{value}\r\n"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_stand_in_the_sections_that_the_client_sends_on() {
        let offer = "v=0\r\nc=IN IP4 0.0.0.0\r\n\
            m=audio 9 X 1\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\n\
            m=video 9 X 2\r\nc=IN IP4 0.0.0.0\r\na=sendonly\r\n\
            m=video 9 X 2\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\na=mid:2\r\n";
        let limits = Limits {
            max_bitrate: Some(500_000),
            ptime: Some(20),
            max_ptime: Some(60),
        };
        let expected = "v=0\r\nc=IN IP4 0.0.0.0\r\n\
            m=audio 9 X 1\r\nc=IN IP4 0.0.0.0\r\nb=TIAS:500000\r\na=recvonly\r\na=ptime:20\r\na=maxptime:60\r\n\
            m=video 9 X 2\r\nc=IN IP4 0.0.0.0\r\na=sendonly\r\n\
            m=video 9 X 2\r\nc=IN IP4 0.0.0.0\r\nb=TIAS:500000\r\na=recvonly\r\na=mid:2\r\n";
        assert_eq!(limits.write(offer), expected);
        assert_eq!(Limits::default().write(offer), offer);
    }
}

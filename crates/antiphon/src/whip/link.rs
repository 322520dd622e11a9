//! STUN and TURN servers in `Link` headers (RFC 9725 §4.6, RFC 8288 §3).

use hyper::HeaderMap;
use hyper::header::LINK;

use crate::RtcIceServer;

/// Servers that one answer may name; more are left out.
const MAX_SERVERS: usize = 16;

/// The servers that an answer names.
pub(super) fn ice_servers(headers: &HeaderMap) -> Vec<RtcIceServer> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(links).filter_map(server).take(MAX_SERVERS).collect()
}

/// A target, and its parameters with their names in lower case.
struct Link<'a> {
    target: &'a str,
    parameters: Vec<(String, String)>,
}

fn server(link: Link<'_>) -> Option<RtcIceServer> {
    let parameter = |name: &str| {
        let mut all = link.parameters.iter();
        all.find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let relation = parameter("rel")?;
    let known = ["stun:", "stuns:", "turn:", "turns:"];
    let is_server = relation.split_ascii_whitespace().any(|word| word == "ice-server")
        && known.iter().any(|scheme| link.target.starts_with(scheme));
    is_server.then(|| RtcIceServer {
        urls: vec![link.target.to_owned()],
        username: parameter("username").unwrap_or_default(),
        credential: parameter("credential").unwrap_or_default(),
    })
}

/// The links of one header; it ends where it cannot be read.
fn links(value: &str) -> impl Iterator<Item = Link<'_>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (target, after) = rest.strip_prefix('<')?.split_once('>')?;
        let mut parameters = Vec::new();
        rest = after.trim_start();
        while let Some(after) = rest.strip_prefix(';') {
            let after = after.trim_start();
            let end = after.find(['=', ';', ',']).unwrap_or(after.len());
            let name = after.get(..end)?.trim().to_ascii_lowercase();
            rest = after.get(end..)?;
            let mut text = String::new();
            if let Some(value) = rest.strip_prefix('=') {
                (text, rest) = value_of(value.trim_start())?;
            }
            rest = rest.trim_start();
            parameters.push((name, text));
        }
        Some(Link { target, parameters })
    })
}

/// A token or a quoted string (RFC 9110 §5.6), and what comes after it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return Some((text.get(..end)?.trim().to_owned(), text.get(end..)?));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(letters.next()?.1),
            _ => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str]) -> Vec<RtcIceServer> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LINK, HeaderValue::from_str(value).unwrap());
        }
        ice_servers(&headers)
    }

    #[test]
    fn servers_of_rfc_9725() {
        let servers = read(&[
            "<stun:stun.example.net>; rel=\"ice-server\"",
            "<turn:turn.example.net?transport=udp>; rel=\"ice-server\"; username=\"us,er\"; credential=\"my\\\"Password\"; \
             credential-type=\"password\", <turns:turn.example.net>;REL=ice-server;username=u;credential=p",
            "<https://example.net/x>; rel=\"ice-server\", <stun:other>; rel=\"preload\"",
        ]);
        let urls: Vec<&str> = servers.iter().map(|server| &*server.urls[0]).collect();
        assert_eq!(
            urls,
            [
                "stun:stun.example.net",
                "turn:turn.example.net?transport=udp",
                "turns:turn.example.net"
            ]
        );
        assert_eq!(
            (&*servers[1].username, &*servers[1].credential),
            ("us,er", "my\"Password")
        );
        assert_eq!((&*servers[2].username, &*servers[2].credential), ("u", "p"));
        let many = "<stun:a>;rel=ice-server,".repeat(50);
        assert_eq!(read(&[&many]).len(), MAX_SERVERS);
    }

    proptest! {
        #[test]
        fn any_header_is_read(value in "[ -~]{0,80}", list in "[<>;,=\"\\\\ a]{0,40}") {
            read(&[&value, &list]);
        }
    }
}

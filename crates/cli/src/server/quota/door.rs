//! Who may knock: names that are ours, pages that may use us, and bearers of tokens.
//!
//! A browser sends requests for every page that it shows. Two headers that no script can forge tell whose page it is: `Host` is the name
//! under which the page reached us (a stranger's name that resolves to this machine is DNS rebinding), and `Origin` is the page's own.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::args::ServeArgs;

/// Any name, or any page.
pub(in crate::server) const ANY: &str = "*";

/// A bearer token (RFC 6750), of which only the hash is kept.
#[derive(Clone)]
pub(in crate::server) struct Token([u8; 32]);

impl Token {
    fn new(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What a request that needs a token came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Bearer {
    /// No token is needed, or it is the right one.
    Right,
    /// It came with none.
    Missing,
    /// It came with another one.
    Wrong,
}

/// The rules, as the flags say them.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Door {
    hosts: Vec<String>,
    origins: Vec<String>,
    /// What publishers must show.
    pub(in crate::server) whip: Option<Token>,
    /// What players must show.
    pub(in crate::server) whep: Option<Token>,
}

impl Door {
    pub(in crate::server) fn new(args: &ServeArgs) -> Self {
        let lower = |list: &[String]| list.iter().map(|text| text.to_ascii_lowercase()).collect();
        Self {
            hosts: lower(&args.allow_hosts),
            origins: lower(&args.allow_origins),
            whip: args.whip_token.as_deref().map(Token::new),
            whep: args.whep_token.as_deref().map(Token::new),
        }
    }

    /// Whether the request came under a name of ours: an address, a loopback name, or one of `--allow-host`.
    pub(in crate::server) fn knows_host(&self, version: Version, uri: &Uri, headers: &HeaderMap) -> bool {
        let named = |host: &str| {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            is_local_name(&host) || as_address(&host).is_some() || listed(&self.hosts, &host)
        };
        let mut hosts = headers.get_all(HOST).iter();
        let told = match (hosts.next(), hosts.next()) {
            (Some(host), None) => Authority::try_from(host.as_bytes()).is_ok_and(|authority| named(authority.host())),
            // Only HTTP/1.0 knows requests without Host (RFC 9112 §3.2), and no browser sends those.
            (None, _) => version < Version::HTTP_11,
            _ => false,
        };
        told && uri.host().is_none_or(named)
    }

    /// Whether the page that asks may: it is ours, one of this machine's, or in `--allow-origin`. What is no browser names none.
    pub(in crate::server) fn knows_page(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = match (origins.next(), origins.next()) {
            (None, _) => return true,
            (Some(origin), None) => origin,
            _ => return false,
        };
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_ascii_lowercase();
        if listed(&self.origins, &origin) {
            return true;
        }
        let Some((_, authority)) = origin.split_once("://") else {
            return false;
        };
        let ours = headers.get(HOST).and_then(|host| host.to_str().ok());
        ours.is_some_and(|host| host.eq_ignore_ascii_case(authority))
            || Authority::try_from(authority).is_ok_and(|authority| {
                let host = authority.host();
                is_local_name(host) || as_address(host).is_some_and(|ip| ip.is_loopback())
            })
    }
}

/// Turns requests away that came under a stranger's name.
pub(in crate::server) async fn known_host(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if door.knows_host(request.version(), request.uri(), request.headers()) {
        return next.run(request).await;
    }
    let why = "this server is not known by that name: start it with --allow-host NAME\n";
    (StatusCode::MISDIRECTED_REQUEST, why).into_response()
}

/// Turns requests away that a stranger's page makes.
pub(in crate::server) async fn known_page(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if door.knows_page(request.headers()) {
        return next.run(request).await;
    }
    let why = "pages of that origin may not use this server: start it with --allow-origin ORIGIN\n";
    (StatusCode::FORBIDDEN, why).into_response()
}

/// Compares the token of a request with `token`, in a time that tells nothing of it.
pub(in crate::server) fn bearer(token: Option<&Token>, headers: &HeaderMap) -> Bearer {
    let Some(Token(right)) = token else {
        return Bearer::Right;
    };
    let shown = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, shown)) = shown else {
        return Bearer::Missing;
    };
    // Of hashes: neither the length of the token nor how much of a guess was right can be measured.
    if bool::from(Sha256::digest(shown.trim()).ct_eq(right)) {
        Bearer::Right
    } else {
        Bearer::Wrong
    }
}

fn listed(list: &[String], wanted: &str) -> bool {
    list.iter().any(|known| known == ANY || known == wanted)
}

fn is_local_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

fn as_address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use clap::Parser;

    use super::*;
    use crate::args::Args;

    fn door(flags: &[&str]) -> Door {
        Door::new(&Args::parse_from(["antiphon"].iter().chain(flags)).serve)
    }

    fn with(name: axum::http::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn mend16_names_of_strangers_are_not_ours() {
        let plain = door(&[]);
        let named = door(&["--allow-host", "Media.Example.org"]);
        let knows =
            |door: &Door, host: &str| door.knows_host(Version::HTTP_11, &Uri::from_static("/"), &with(HOST, &[host]));
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "192.0.2.7:80",
            "[::1]:8080",
            "[2001:db8::1]",
            "localhost",
            "LocalHost:9",
            "a.localhost.",
        ] {
            assert!(knows(&plain, host) && knows(&named, host), "{host}");
        }
        for host in ["media.example.org", "MEDIA.example.org:443", "media.example.org."] {
            assert!(!knows(&plain, host) && knows(&named, host), "{host}");
        }
        for host in [
            "evil.example",
            "media.example.org.evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "a b",
            "x@",
        ] {
            assert!(!knows(&named, host), "{host}");
            assert!(
                host.is_empty() || host.contains([' ', '@']) || knows(&door(&["--allow-host", "*"]), host),
                "{host}"
            );
        }
        let none = HeaderMap::new();
        assert!(!plain.knows_host(Version::HTTP_11, &Uri::from_static("/"), &none));
        assert!(plain.knows_host(Version::HTTP_10, &Uri::from_static("/"), &none));
        let two = with(HOST, &["localhost", "evil.example"]);
        assert!(!plain.knows_host(Version::HTTP_11, &Uri::from_static("/"), &two));
        let absolute = Uri::from_static("http://evil.example/");
        assert!(!plain.knows_host(Version::HTTP_11, &absolute, &with(HOST, &["localhost"])));
    }

    #[test]
    fn mend16_pages_of_strangers_may_not_use_us() {
        let plain = door(&[]);
        let open = door(&["--allow-origin", "https://Studio.example.org"]);
        let knows = |door: &Door, origins: &[&str]| {
            let mut headers = with(ORIGIN, origins);
            headers.insert(HOST, HeaderValue::from_static("192.0.2.7:8080"));
            door.knows_page(&headers)
        };
        assert!(knows(&plain, &[]), "no browser");
        for origin in [
            "http://192.0.2.7:8080",
            "http://localhost:3000",
            "https://127.0.0.1",
            "http://[::1]:5",
            "http://127.8.9.1:1",
        ] {
            assert!(knows(&plain, &[origin]), "{origin}");
        }
        for origin in [
            "http://192.0.2.7:81",
            "https://evil.example",
            "null",
            "",
            "http://localhost.evil.example",
            "https://studio.example.org:444",
        ] {
            assert!(!knows(&open, &[origin]), "{origin}");
        }
        assert!(knows(&open, &["https://studio.example.org"]) && !knows(&plain, &["https://studio.example.org"]));
        assert!(!knows(&plain, &["http://localhost", "https://evil.example"]));
        assert!(knows(&door(&["--allow-origin", "*"]), &["https://evil.example"]));
    }

    #[test]
    fn mend16_tokens() {
        let door = door(&["--whip-token", "c2VjcmV0"]);
        let show = |value: &str| bearer(door.whip.as_ref(), &with(AUTHORIZATION, &[value]));
        assert_eq!(show("Bearer c2VjcmV0"), Bearer::Right);
        assert_eq!(show("bearer  c2VjcmV0 "), Bearer::Right);
        for wrong in ["Bearer c2VjcmV", "Bearer c2VjcmV00", "Bearer C2VjcmV0", "Bearer "] {
            assert_eq!(show(wrong), Bearer::Wrong, "{wrong}");
        }
        for missing in ["Basic c2VjcmV0", "c2VjcmV0", "Bearer"] {
            assert_eq!(show(missing), Bearer::Missing, "{missing}");
        }
        assert_eq!(bearer(door.whip.as_ref(), &HeaderMap::new()), Bearer::Missing);
        assert_eq!(
            bearer(door.whep.as_ref(), &HeaderMap::new()),
            Bearer::Right,
            "none is asked for"
        );
        assert!(!format!("{door:?}").contains("c2VjcmV0"));
    }
}

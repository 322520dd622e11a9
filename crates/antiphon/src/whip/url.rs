//! Where a server is, and where it sends us (RFC 3986 §5).

use hyper::Uri;

use super::Error;

/// An absolute `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url(Uri);

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why| Error::Url {
            url: text.to_owned(),
            why,
        };
        let uri: Uri = text.parse().map_err(|_| wrong("it cannot be read"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("it begins with http:// or https://"));
        }
        match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => Err(wrong("a user has no place in it")),
            Some(authority) if !authority.host().is_empty() => Ok(Self(uri)),
            _ => Err(wrong("it names no host")),
        }
    }

    /// What a reference means here, as in `Location` (RFC 3986 §5.2.2).
    pub(super) fn join(&self, reference: &str) -> Result<Self, Error> {
        let origin = format!("{}://{}", self.scheme(), self.authority());
        let path = self.0.path();
        if reference.contains("://") && !reference.starts_with(['/', '?', '.']) {
            return Self::parse(reference);
        }
        if reference.starts_with("//") {
            return Self::parse(&format!("{}:{reference}", self.scheme()));
        }
        if reference.starts_with('?') || reference.is_empty() {
            return Self::parse(&format!("{origin}{path}{reference}"));
        }
        let (reference, query) = match reference.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (reference, String::new()),
        };
        let whole = match reference.starts_with('/') {
            true => reference.to_owned(),
            false => format!("{}/{reference}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        Self::parse(&format!("{origin}{}{query}", without_dots(&whole)))
    }

    fn scheme(&self) -> &str {
        self.0.scheme_str().unwrap_or_default()
    }

    pub(super) fn is_secure(&self) -> bool {
        self.scheme() == "https"
    }

    /// Host and port as they are written: for the header `Host`.
    pub(super) fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// The name or address, without the brackets of IPv6.
    pub(super) fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(super) fn port(&self) -> u16 {
        let default = if self.is_secure() { 443 } else { 80 };
        self.0.port_u16().unwrap_or(default)
    }

    /// Path and query: what a request asks for.
    pub(super) fn target(&self) -> &str {
        self.0.path_and_query().map_or("/", |target| target.as_str())
    }

    /// Whether both are one server's: only then it may see our token.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        self.scheme() == other.scheme() && self.host().eq_ignore_ascii_case(other.host()) && self.port() == other.port()
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// RFC 3986 §5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." => {}
            ".." => _ = kept.pop(),
            _ => kept.push(part),
        }
        if last && matches!(part, "." | "..") {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references_lead_where_rfc_3986_says() {
        let base = Url::parse("https://example.org:8443/a/b/whip?x=1").unwrap();
        for (reference, target) in [
            ("/resource/1", "https://example.org:8443/resource/1"),
            ("c", "https://example.org:8443/a/b/c"),
            ("./c", "https://example.org:8443/a/b/c"),
            ("../c?y=http://z", "https://example.org:8443/a/c?y=http://z"),
            ("../../../c/", "https://example.org:8443/c/"),
            ("..", "https://example.org:8443/a/"),
            ("?y", "https://example.org:8443/a/b/whip?y"),
            ("//other/c", "https://other/c"),
            ("http://other:1/c", "http://other:1/c"),
        ] {
            assert_eq!(base.join(reference).unwrap().to_string(), target, "{reference}");
        }
        assert!(base.join("ftp://other/").is_err());
    }

    #[test]
    fn what_is_no_url_of_a_server() {
        for text in [
            "",
            "whip",
            "/whip",
            "ftp://a/",
            "http://",
            "http://user:secret@a/",
            "http://a b/",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        let url = Url::parse("http://[::1]:8080/whip").unwrap();
        assert_eq!((url.host(), url.port(), url.target()), ("::1", 8080, "/whip"));
        let url = Url::parse("https://a").unwrap();
        assert_eq!((url.port(), url.target()), (443, "/"));
        assert!(url.same_origin(&Url::parse("https://A:443/x").unwrap()));
        assert!(!url.same_origin(&Url::parse("http://a/x").unwrap()));
    }

    proptest! {
        #[test]
        fn any_reference_is_followed_or_refused(reference in "(?s).{0,60}") {
            _ = Url::parse("http://a/b").unwrap().join(&reference);
            _ = Url::parse(&reference);
        }
    }
}

//! Why there is no session, or it does not end as it should.

/// Why a request of a WHIP or WHEP client failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was given, or what the server gave, is no URL of a server.
    #[error("{url:?} is no URL to publish or play at: {why}")]
    Url {
        /// The text that was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The token cannot stand in a header.
    #[error("the bearer token has letters that no header can carry")]
    Token,
    /// The server cannot be reached.
    #[error("cannot reach {host}: {source}")]
    Connect {
        /// Its name or address, with the port.
        host: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server is not whom we trust, or does not speak TLS.
    #[error("{0}")]
    Tls(String),
    /// What came is no HTTP, or too long.
    #[error("{host} does not speak HTTP as it should: {why}")]
    Http {
        /// Its name or address, with the port.
        host: String,
        /// What was wrong.
        why: String,
    },
    /// Nothing came for too long.
    #[error("{host} did not answer in time")]
    Timeout {
        /// Its name or address, with the port.
        host: String,
    },
    /// The server refused.
    #[error("{url} answered {status}{}", told(.words, .retry_after))]
    Refused {
        /// Who refused, after redirects.
        url: String,
        /// The status, with its name where it has one.
        status: hyper::StatusCode,
        /// What the server says of it, cut to a line; may be empty.
        words: String,
        /// When to try again, in seconds, if it says so.
        retry_after: Option<u64>,
    },
    /// The server sent from place to place.
    #[error("{url} leads through too many redirects")]
    Redirects {
        /// The last place.
        url: String,
    },
    /// The answer lacks what it must have.
    #[error("{url} answered without {missing}")]
    Answer {
        /// The URL that answered.
        url: String,
        /// What is missing.
        missing: &'static str,
    },
    /// The peer connection refused the offer or the answer, or is closed.
    #[error(transparent)]
    Peer(#[from] crate::Error),
}

fn told(words: &str, retry_after: &Option<u64>) -> String {
    let mut text = String::new();
    if !words.is_empty() {
        text = format!(": {words}");
    }
    if let Some(seconds) = retry_after {
        text.push_str(&format!(" (try again in {seconds} s)"));
    }
    text
}

//! One request, one answer, over TCP or TLS.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Error;
use super::connection::{Connection, Inner};
use super::url::Url;
use crate::net::tcp::Trust;

/// Bytes of the largest answer: descriptions of many sections with many candidates have a hundred thousand.
const MAX_BODY: usize = 256 * 1024;
/// Redirects that one request follows.
const MAX_REDIRECTS: usize = 5;
/// Letters of the server's words that an error repeats.
const MAX_WORDS: usize = 300;
/// How long an answer may take. Servers gather candidates first, some from servers of their own.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whom we believe, and what we show.
#[derive(Clone, Debug, Default)]
pub(super) struct Http {
    pub(super) trust: Trust,
    pub(super) token: Option<String>,
}

/// What came.
#[derive(Debug)]
pub(super) struct Answer {
    /// Who answered, after redirects.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Http {
    /// Asks, and follows redirects that keep the method (RFC 9725 §4.5 has 307). The token is shown to the server that it was given
    /// for, and to no other to which that one sends us.
    pub(super) async fn ask(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(HeaderName, HeaderValue)],
        body: &Bytes,
    ) -> Result<Answer, Error> {
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let request = self.request(method, &at, at.same_origin(url), headers, body)?;
            let answer = timeout(PATIENCE, self.once(&at, request));
            let answer = answer.await.map_err(|_| Error::Timeout {
                host: at.authority().to_owned(),
            })??;
            let moved = [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT].contains(&answer.status);
            if !moved {
                return Ok(answer);
            }
            let next = at.join(answer.header(&LOCATION).ok_or_else(|| answer.without("a Location"))?)?;
            if at.is_secure() && !next.is_secure() {
                return Err(Error::Url {
                    url: next.to_string(),
                    why: "a redirect leads from https to http",
                });
            }
            at = next;
        }
        Err(Error::Redirects { url: at.to_string() })
    }

    fn request(
        &self,
        method: &Method,
        url: &Url,
        show_token: bool,
        headers: &[(HeaderName, HeaderValue)],
        body: &Bytes,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let unreadable = || Error::Url {
            url: url.to_string(),
            why: "it cannot stand in a request",
        };
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = url.target().parse().map_err(|_| unreadable())?;
        let to = request.headers_mut();
        to.insert(HOST, HeaderValue::from_str(url.authority()).map_err(|_| unreadable())?);
        to.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("antiphon/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(token) = self.token.as_ref().filter(|_| show_token) {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Error::Token)?;
            value.set_sensitive(true);
            to.insert(AUTHORIZATION, value);
        }
        for (name, value) in headers {
            to.insert(name, value.clone());
        }
        Ok(request)
    }

    async fn once(&self, url: &Url, request: Request<Full<Bytes>>) -> Result<Answer, Error> {
        let stream = self.open(url).await?;
        exchange(url, stream, request).await
    }

    /// A stream to the server of a URL.
    pub(super) async fn open(&self, url: &Url) -> Result<Connection, Error> {
        let stream = TcpStream::connect((url.host(), url.port()));
        let stream = stream.await.map_err(|source| Error::Connect {
            host: url.authority().to_owned(),
            source,
        })?;
        // Small requests, each of which waits for its answer.
        _ = stream.set_nodelay(true);
        Ok(Connection(match url.is_secure() {
            true => Inner::Tls(Box::new(
                self.trust.connect(url.host(), stream).await.map_err(Error::Tls)?,
            )),
            false => Inner::Plain(stream),
        }))
    }
}

async fn exchange(url: &Url, stream: Connection, request: Request<Full<Bytes>>) -> Result<Answer, Error> {
    let wrong = |why: String| Error::Http {
        host: url.authority().to_owned(),
        why,
    };
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| wrong(e.to_string()))?;
    let talk = async {
        let answer = sender.send_request(request).await.map_err(|e| wrong(e.to_string()))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|e| wrong(e.to_string()))?.to_bytes();
        Ok(Answer {
            url: url.clone(),
            status: head.status,
            headers: head.headers,
            body,
        })
    };
    tokio::pin!(talk);
    tokio::select! {
        answer = &mut talk => answer,
        // It may end before the answer is read to its end; what has come is then still there.
        ended = connection => match ended {
            Ok(()) => talk.await,
            Err(error) => Err(wrong(io::Error::other(error).to_string())),
        },
    }
}

impl Answer {
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body, which is text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The error that something is missing.
    pub(super) fn without(&self, missing: &'static str) -> Error {
        Error::Answer {
            url: self.url.to_string(),
            missing,
        }
    }

    /// The error that the server means. Its words are cut, and have no letters that would do something to a terminal.
    pub(super) fn refusal(&self) -> Error {
        let text = self.text();
        let is_page = text.trim_start().starts_with('<');
        let first: &str = if is_page { "" } else { text.trim() };
        let words = first
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter });
        Error::Refused {
            url: self.url.to_string(),
            status: self.status,
            words: words.take(MAX_WORDS).collect(),
            retry_after: self.header(&RETRY_AFTER).and_then(|value| value.trim().parse().ok()),
        }
    }
}

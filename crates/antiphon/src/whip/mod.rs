//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep), from the side of the client: a peer connection that publishes to, or plays from, a
//! server behind a URL.
//!
//! ```no_run
//! # async fn watch() -> Result<(), Box<dyn std::error::Error>> {
//! use antiphon::{Api, Direction, Event, MediaKind, RtcConfiguration, RtcRtpTransceiverInit, whip};
//!
//! let endpoint = whip::Endpoint::new("https://media.example.org/whep/stage")?.bearer("a-token");
//! let mut configuration = RtcConfiguration::default();
//! configuration.ice_servers = endpoint.ice_servers().await?;
//! let mut pc = Api::new()?.peer_connection(configuration).await?;
//! let init = RtcRtpTransceiverInit::new(Direction::RecvOnly);
//! pc.add_transceiver(MediaKind::Video, init).await?;
//! let session = endpoint.connect(&mut pc).await?;
//! while let Some(event) = pc.next_event().await {
//!     match event {
//!         Event::IceCandidate(candidate) => session.add_candidate(candidate.as_ref()).await?,
//!         Event::Frame { frame, .. } => println!("{} bytes", frame.data.len()),
//!         _ => {}
//!     }
//! }
//! session.close().await?;
//! # Ok(())
//! # }
//! ```

mod connection;
mod error;
mod http;
mod link;
mod url;

pub use connection::Connection;
pub use error::Error;

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, LOCATION};
use hyper::{Method, StatusCode};
use tokio::time::timeout;

use crate::net::tcp::Trust;
use crate::{Event, PeerConnection, RtcIceCandidateInit, RtcIceGatheringState, RtcIceServer, RtcSessionDescription};
use http::Http;
use url::Url;

const SDP: HeaderValue = HeaderValue::from_static("application/sdp");
const FRAGMENT: HeaderValue = HeaderValue::from_static("application/trickle-ice-sdpfrag");
/// How long the offer waits for our candidates. Those that come later are sent after it, if the server takes any.
const GATHER_LIMIT: Duration = Duration::from_secs(2);

/// A server's URL for publishing (WHIP) or playing (WHEP), and what it is shown.
#[derive(Debug)]
pub struct Endpoint {
    url: Url,
    http: Http,
}

impl Endpoint {
    /// The endpoint at an `http://` or `https://` URL.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self {
            url: Url::parse(url)?,
            http: Http::default(),
        })
    }

    /// Shows this bearer token in every request (RFC 9725 §4.7). Other servers to which this one redirects do not see it.
    #[must_use]
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.http.token = Some(token.into());
        self
    }

    /// Believes servers whose certificates these vouch for, besides those of the platform.
    ///
    /// # Errors
    /// [`crate::Error::TrustedCertificates`] if the text holds no certificate or a broken one.
    pub fn trusted_certificates_pem(mut self, pem: &[u8]) -> Result<Self, Error> {
        let added = Trust::parse_pem(pem).map_err(crate::Error::TrustedCertificates)?;
        self.http.trust.extra.extend(added);
        Ok(self)
    }

    /// Believes every certificate: whoever sits between can then read the token, and be the other end of the media.
    #[must_use]
    pub fn danger_accept_any_server_certificate(mut self, yes: bool) -> Self {
        self.http.trust.accept_any = yes;
        self
    }

    /// The STUN and TURN servers that the endpoint names when it is asked with OPTIONS, as many do. RFC 9725 §4.6 has them with the
    /// answer ([`Session::ice_servers`]), when a connection has begun to gather already; so ask first, and make the connection
    /// with them. A server that refuses the question names none.
    ///
    /// # Errors
    /// Any [`Error`] but [`Error::Refused`] and [`Error::Peer`].
    pub async fn ice_servers(&self) -> Result<Vec<RtcIceServer>, Error> {
        let answer = self.http.ask(&Method::OPTIONS, &self.url, &[], &Bytes::new()).await?;
        let named = answer.status.is_success();
        Ok(if named {
            link::ice_servers(&answer.headers)
        } else {
            Vec::new()
        })
    }

    /// A stream to the endpoint's server, over TLS as the endpoint believes certificates where its URL says `https`: for what a server has
    /// beside WHIP and WHEP. Nothing is said on it, and no token shown.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Tls`].
    pub async fn open(&self) -> Result<Connection, Error> {
        self.http.open(&self.url).await
    }

    /// Offers what the connection's transceivers and channels say, and takes the server's answer. Events of the connection that come
    /// before the offer is made are read here; candidates that come after it are for [`Session::add_candidate`].
    ///
    /// A WHEP server may refuse the offer and make one of its own (406, "counter-offer"). Ours is then taken back, and theirs answered:
    /// what it brings is received on transceivers of its own, with the codecs that the connection can take.
    ///
    /// # Errors
    /// [`Error`]; a session that the server has made by then is deleted.
    pub async fn connect(&self, pc: &mut PeerConnection) -> Result<Session, Error> {
        pc.set_local_description(None).await?;
        gathered(pc).await?;
        let offer = described(pc).await?;
        let headers = [(CONTENT_TYPE, SDP), (ACCEPT, SDP)];
        let answer = self
            .http
            .ask(&Method::POST, &self.url, &headers, &Bytes::from(offer.clone()))
            .await?;
        let is_offer = answer.status == StatusCode::NOT_ACCEPTABLE
            && answer
                .header(&CONTENT_TYPE)
                .is_some_and(|kind| SDP.as_bytes().eq_ignore_ascii_case(kind.trim().as_bytes()));
        if answer.status != StatusCode::CREATED && !is_offer {
            return Err(answer.refusal());
        }
        let location = answer.header(&LOCATION).ok_or_else(|| answer.without("a Location"))?;
        let mut session = Session {
            http: self.http.clone(),
            url: answer.url.join(location)?,
            etag: answer.headers.get(ETAG).cloned(),
            ice_servers: link::ice_servers(&answer.headers),
            head: fragment_head(&offer),
        };
        let taken = if is_offer {
            session.answer(pc, answer.text()).await
        } else {
            let answer = RtcSessionDescription::answer(answer.text());
            pc.set_remote_description(answer).await.map_err(Error::from)
        };
        if let Err(error) = taken {
            // Why there is no session matters more than whether the server could delete it.
            _ = session.close().await;
            return Err(error);
        }
        Ok(session)
    }
}

/// Waits for the candidates of this end, but not for ever.
async fn gathered(pc: &mut PeerConnection) -> Result<(), Error> {
    let gathered = timeout(GATHER_LIMIT, async {
        loop {
            match pc.next_event().await {
                Some(Event::IceCandidate(None)) => return Ok(()),
                Some(_) => {}
                None => return Err(crate::Error::Closed),
            }
        }
    });
    if let Ok(ended) = gathered.await {
        ended?;
    }
    Ok(())
}

async fn described(pc: &PeerConnection) -> Result<String, Error> {
    Ok(pc.local_description().await?.ok_or(crate::Error::Closed)?.sdp)
}

/// A session at a server. Dropping it tells the server nothing: it then waits until consent has expired.
#[derive(Debug)]
pub struct Session {
    http: Http,
    url: Url,
    /// The entity tag of the ICE session; only servers that take candidates later have one (RFC 9725 §4.3.1).
    etag: Option<HeaderValue>,
    ice_servers: Vec<RtcIceServer>,
    /// What stands before the candidates of a fragment.
    head: String,
}

impl Session {
    /// The session's own URL, which is a secret: who knows it can end the session.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// The STUN and TURN servers that came with the answer.
    pub fn ice_servers(&self) -> &[RtcIceServer] {
        &self.ice_servers
    }

    /// Sends a candidate that came after the offer was made; `None`: there are no more. Nothing is sent to a server that takes none.
    ///
    /// # Errors
    /// [`Error`]. The session goes on with the candidates before.
    pub async fn add_candidate(&self, candidate: Option<&RtcIceCandidateInit>) -> Result<(), Error> {
        let Some(etag) = &self.etag else { return Ok(()) };
        let line = match candidate {
            Some(candidate) if candidate.candidate.is_empty() => return Ok(()),
            Some(candidate) => candidate.candidate.as_str(),
            None => "end-of-candidates",
        };
        let headers = [(CONTENT_TYPE, FRAGMENT), (IF_MATCH, etag.clone())];
        let body = format!("{}a={line}\r\n", self.head);
        let answer = self.http.ask(&Method::PATCH, &self.url, &headers, &body.into()).await?;
        match answer.status {
            // RFC 9725 §4.3.1: a server need not take them, and says so with these.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(answer.refusal()),
        }
    }

    /// Takes a server's offer instead of its answer (draft-ietf-wish-whep, "SDP negotiation": the answer goes into a PATCH).
    async fn answer(&mut self, pc: &mut PeerConnection, offer: String) -> Result<(), Error> {
        // It takes our own offer back.
        pc.set_remote_description(RtcSessionDescription::offer(offer)).await?;
        pc.set_local_description(None).await?;
        // The candidates of our offer may do for the answer.
        if pc.ice_gathering_state().await? != RtcIceGatheringState::Complete {
            gathered(pc).await?;
        }
        let answer = described(pc).await?;
        self.head = fragment_head(&answer);
        let taken = self
            .http
            .ask(&Method::PATCH, &self.url, &[(CONTENT_TYPE, SDP)], &answer.into())
            .await?;
        if taken.status.is_success() {
            Ok(())
        } else {
            Err(taken.refusal())
        }
    }

    /// Ends the session at the server. Close the connection afterwards.
    ///
    /// # Errors
    /// [`Error`]. A session that the server has ended already is no error.
    pub async fn close(self) -> Result<(), Error> {
        let none: [(HeaderName, HeaderValue); 0] = [];
        let answer = self.http.ask(&Method::DELETE, &self.url, &none, &Bytes::new()).await?;
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(answer.refusal()),
        }
    }
}

/// RFC 8840 §9: a fragment begins with the credentials, and the first section, which carries all of a bundle.
fn fragment_head(offer: &str) -> String {
    let mut head = String::new();
    let line = |start: &str| offer.lines().find(|line| line.starts_with(start));
    for start in ["a=ice-ufrag:", "a=ice-pwd:", "m=", "a=mid:"] {
        if let Some(line) = line(start) {
            head.push_str(line.trim_end());
            head.push_str("\r\n");
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_begins_with_the_credentials_and_the_first_section() {
        let offer = "v=0\r\ns=-\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n\
            a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:EsAw\r\n";
        assert_eq!(
            fragment_head(offer),
            "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
        );
    }
}

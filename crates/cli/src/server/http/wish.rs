//! The sessions of WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): an offer comes in a POST, the answer goes into its response.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::resource::{Endpoint, Order, Resource};
use super::sdpfrag::Fragment;
use super::shared::Shared;
use crate::server::media::{Claim, LayerChoice, NO_WAY, Outcome, Peer, Publisher, Refused, Role, TrackLayers};
use crate::server::quota::Place;

/// Gathering on the machine itself takes milliseconds; a STUN server that does not answer shall not hold up the answer.
const GATHER_LIMIT: Duration = Duration::from_secs(2);
/// When to try again, in seconds.
pub(in crate::server) const RETRY_AFTER: u16 = 5;
/// Requests that may wait for one session.
pub(super) const MAX_REQUESTS: usize = 16;

/// Why a request is answered with an error.
#[derive(Debug)]
pub(in crate::server) struct Refusal {
    pub(in crate::server) status: StatusCode,
    pub(in crate::server) reason: Cow<'static, str>,
    /// In seconds, for what will be better soon.
    pub(in crate::server) retry_after: Option<u16>,
    /// For `WWW-Authenticate`, where a token is needed.
    pub(in crate::server) challenge: Option<&'static str>,
}

impl Refusal {
    pub(in crate::server) fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            reason: reason.into(),
            retry_after: None,
            challenge: None,
        }
    }

    /// For what will be better soon.
    pub(super) fn for_now(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
        }
    }
}

/// What the client hears of its new session.
#[derive(Debug)]
pub(in crate::server) struct Opened {
    /// The secret name of the session.
    pub(in crate::server) id: String,
    pub(in crate::server) etag: String,
    pub(in crate::server) answer: String,
}

/// What a session is for.
#[derive(Debug)]
pub(in crate::server) enum Purpose {
    /// Publishing under the name that was claimed.
    Publish(Claim),
    /// Watching a publisher, and at first these layers.
    Watch(Arc<Publisher>, LayerChoice),
    /// Watching the pattern.
    Pattern,
}

/// Makes a session from an offer of somebody at `from`.
pub(in crate::server) async fn open(
    shared: Arc<Shared>,
    from: IpAddr,
    purpose: Purpose,
    offer: String,
) -> Result<Opened, Refusal> {
    let place = shared.enter(from).map_err(|full| Refusal::for_now(full.to_string()))?;
    let session = shared.number();
    let mut choice = LayerChoice::default();
    let (endpoint, role, claim) = match purpose {
        Purpose::Publish(claim) => (Endpoint::Whip, Role::Publish, Some(claim)),
        Purpose::Watch(publisher, at_first) => {
            choice = at_first;
            (Endpoint::Whep, Role::Watch(publisher), None)
        }
        Purpose::Pattern => (Endpoint::Whep, Role::Pattern, None),
    };
    let ufrag = ufrag_of(&offer);
    let broken = |error: antiphon::Error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let answering = Peer::answering(shared.setup.clone(), session, role, choice, offer).await;
    let mut peer = answering.map_err(|refused| match refused {
        Refused::Broken(error) => broken(error),
        // Well-formed or not, the description cannot be used (RFC 9725 §4.2).
        Refused::Offer(reason) => Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason),
    })?;
    // No trickle towards the client in WHIP: the answer waits for our candidates (RFC 9725 §4.3.1).
    _ = timeout(GATHER_LIMIT, async {
        while !matches!(peer.next().await, Outcome::Gathered | Outcome::Closed) {}
    })
    .await;
    if !peer.has_way().await {
        return Err(Refusal::for_now(NO_WAY));
    }
    let answer = peer.local_sdp().await.map_err(broken)?;
    let id = secret_name().ok_or_else(|| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no randomness"))?;
    let etag = format!("\"{}\"", ufrag_of(&answer).unwrap_or_default());
    let (requests, orders) = mpsc::channel(MAX_REQUESTS);
    shared.resources().insert(
        id.clone(),
        Resource {
            endpoint,
            in_room: false,
            etag: etag.clone(),
            ufrag,
            requests,
        },
    );
    if let (Some(publisher), Some(claim)) = (peer.publisher(), &claim) {
        claim.publish(publisher);
    }
    tracing::info!(session, endpoint = endpoint.path(), "session");
    let traces = Session {
        shared,
        id: id.clone(),
        session,
        claim,
        _place: place,
    };
    tokio::spawn(attend(traces, peer, orders));
    Ok(Opened { id, etag, answer })
}

/// What the server holds of a session; it goes with the session.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) id: String,
    pub(super) session: u64,
    /// The name of the stream, for a publisher.
    pub(super) claim: Option<Claim>,
    pub(super) _place: Place,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.resources().remove(&self.id);
        tracing::info!(session = self.session, "session ended");
    }
}

/// Runs a session until it is deleted, fails, or the server stops.
async fn attend(mut session: Session, mut peer: Peer, mut orders: mpsc::Receiver<Order>) {
    let connect = tokio::time::sleep(session.shared.patience.connect);
    tokio::pin!(connect);
    let mut judged = false;
    let mut farewell = None;
    loop {
        tokio::select! {
            outcome = peer.next() => if matches!(outcome, Outcome::Closed) { break },
            order = orders.recv() => match order {
                Some(Order::Candidates(candidates, end, answer)) => {
                    let mut taken = true;
                    for candidate in candidates {
                        taken &= peer.add_candidate(Some(candidate)).await.is_ok();
                    }
                    if end {
                        taken &= peer.add_candidate(None).await.is_ok();
                    }
                    _ = answer.send(taken);
                }
                Some(Order::Choose(choice)) => peer.choose(choice).await,
                Some(Order::Layers(answer)) => _ = answer.send(peer.layers().await),
                Some(Order::Close(done)) => {
                    farewell = Some(done);
                    break;
                }
                None => break,
            },
            // Judged when the time is over, and not before: `next` comes back for what concerns the signalling alone, so a session
            // that stands may wait in it from its first second on.
            () = &mut connect, if !judged => {
                judged = true;
                if !peer.has_connected() {
                    break;
                }
            }
            () = session.shared.stopping() => break,
        }
    }
    // Watchers and new requests must not find a session that is saying goodbye.
    session.shared.resources().remove(&session.id);
    session.claim = None;
    peer.close().await;
    if let Some(done) = farewell {
        _ = done.send(());
    }
}

const NO_SESSION: &str = "no such session";
const ENDED: &str = "the session has ended";

/// Gives a session the client's candidates. `tag` is what `If-Match` says.
pub(in crate::server) async fn candidates(
    shared: &Shared,
    endpoint: Endpoint,
    id: &str,
    tag: Option<&str>,
    fragment: Fragment,
) -> Result<(), Refusal> {
    let refuse = |status, reason| Err(Refusal::new(status, reason));
    let (etag, ufrag, requests) = {
        let resources = shared.resources();
        match resources.get(id).filter(|resource| resource.endpoint == endpoint) {
            Some(resource) => (resource.etag.clone(), resource.ufrag.clone(), resource.requests.clone()),
            None => return refuse(StatusCode::NOT_FOUND, NO_SESSION),
        }
    };
    // RFC 9725 §4.3.1: an entity tag that is not ours belongs to another ICE session. §4.3.3: `*` asks for a restart.
    let restart = fragment
        .ufrag
        .as_ref()
        .is_some_and(|theirs| ufrag.as_ref().is_some_and(|ours| ours != theirs));
    if restart {
        return refuse(
            StatusCode::UNPROCESSABLE_ENTITY,
            "ICE cannot be restarted here yet: make a new session",
        );
    }
    if tag.is_some_and(|tag| tag != "*" && tag != etag) {
        return refuse(
            StatusCode::PRECONDITION_FAILED,
            "the ICE session has another entity tag",
        );
    }
    let (answer, taken) = oneshot::channel();
    if requests
        .send(Order::Candidates(fragment.candidates, fragment.end, answer))
        .await
        .is_err()
    {
        return refuse(StatusCode::NOT_FOUND, ENDED);
    }
    match taken.await {
        Ok(true) => Ok(()),
        Ok(false) => refuse(StatusCode::BAD_REQUEST, "a candidate was refused"),
        Err(_) => refuse(StatusCode::NOT_FOUND, ENDED),
    }
}

/// The way to a session.
fn requests_of(shared: &Shared, endpoint: Endpoint, id: &str) -> Result<mpsc::Sender<Order>, Refusal> {
    let resources = shared.resources();
    let resource = resources.get(id).filter(|resource| resource.endpoint == endpoint);
    resource
        .map(|resource| resource.requests.clone())
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, NO_SESSION))
}

/// A watcher chooses its layers.
pub(in crate::server) async fn choose(
    shared: &Shared,
    endpoint: Endpoint,
    id: &str,
    choice: LayerChoice,
) -> Result<(), Refusal> {
    let requests = requests_of(shared, endpoint, id)?;
    let sent = requests.send(Order::Choose(choice)).await;
    sent.map_err(|_| Refusal::new(StatusCode::NOT_FOUND, ENDED))
}

/// Which layers a session publishes or watches.
pub(in crate::server) async fn layers(
    shared: &Shared,
    endpoint: Endpoint,
    id: &str,
) -> Result<Vec<TrackLayers>, Refusal> {
    let requests = requests_of(shared, endpoint, id)?;
    let ended = || Refusal::new(StatusCode::NOT_FOUND, ENDED);
    let (answer, told) = oneshot::channel();
    requests.send(Order::Layers(answer)).await.map_err(|_| ended())?;
    told.await.map_err(|_| ended())
}

/// Ends a session; returns when its farewell is said.
pub(in crate::server) async fn close(shared: &Shared, endpoint: Endpoint, id: &str) -> Result<(), Refusal> {
    let requests = requests_of(shared, endpoint, id)?;
    let (done, closed) = oneshot::channel();
    if requests.send(Order::Close(done)).await.is_ok() {
        // An error means that it ended by itself meanwhile.
        _ = closed.await;
    }
    Ok(())
}

pub(super) fn ufrag_of(sdp: &str) -> Option<String> {
    sdp.lines()
        .find_map(|line| line.trim_end().strip_prefix("a=ice-ufrag:"))
        .map(str::to_owned)
}

/// The name of a session is what authorises DELETE and PATCH, so it must not be guessed (RFC 9725 §5).
pub(super) fn secret_name() -> Option<String> {
    let mut name = [0; 18];
    SystemRandom::new().fill(&mut name).ok()?;
    Some(BASE64_URL_SAFE_NO_PAD.encode(name))
}

//! How the two find each other: by a line that is pasted each way, or by a code that a server of ours knows.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon::{
    Api, DataChannel, DataChannelSender, Event, PeerConnection, PeerHandle, RtcConfiguration, RtcDataChannelInit,
    RtcIceCandidateInit, RtcPeerConnectionState, RtcSessionDescription,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::card::{Card, CardError};
use super::error::{MeetError, TransferError};
use super::protocol::{self, Heard, LABEL, PROTOCOL};
use crate::code::is_code;
use crate::text::{plain, print_line};

/// From both descriptions known to an open channel.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// From the other end's leaving its seat to the opening of our channel.
const LEFT_LIMIT: Duration = Duration::from_secs(10);
/// What is left to say to the other end is said within this, or not at all.
const FAREWELL: Duration = Duration::from_secs(2);

/// Which end this is. The sender offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that has the files.
    Sender,
    /// The end that wants them.
    Receiver,
}

/// A way to meet, again and again if need be.
pub enum Meeting {
    /// Lines that a person carries.
    Pasting(Pasting),
    /// A code at a server.
    Signalled(Signalled),
}

impl std::fmt::Debug for Meeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pasting(_) => "Pasting",
            Self::Signalled(_) => "Signalled",
        })
    }
}

impl Meeting {
    /// Meets the other end: an open channel.
    ///
    /// # Errors
    /// Any [`MeetError`].
    pub async fn link(&mut self, api: &Api, configuration: RtcConfiguration) -> Result<Link, MeetError> {
        match self {
            Self::Pasting(pasting) => pasting.link(api, configuration).await,
            Self::Signalled(signalled) => signalled.link(api, configuration).await,
        }
    }
}

/// An open channel to the other end.
#[derive(Debug)]
pub struct Link {
    channel: DataChannel,
    lost: watch::Receiver<bool>,
    handle: PeerHandle,
    pump: JoinHandle<()>,
}

impl Link {
    pub(super) fn sender(&self) -> DataChannelSender {
        self.channel.sender()
    }

    /// The next message; a lost connection ends the wait.
    pub(super) async fn hear(&mut self) -> Result<Heard, TransferError> {
        tokio::select! {
            biased;
            heard = protocol::hear(&mut self.channel) => heard,
            _ = self.lost.wait_for(|lost| *lost) => Err(TransferError::Broken),
        }
    }

    /// Says goodbye; returns when that is on its way.
    pub async fn close(mut self) {
        self.channel.close();
        self.handle.close().await;
        // The pump ends when the driver has nothing more to tell.
        if timeout(FAREWELL, &mut self.pump).await.is_err() {
            self.pump.abort();
        }
    }

    /// Drops the connection without a word, as a broken network does. For tests.
    pub fn cut(&self) -> PeerHandle {
        self.handle.clone()
    }
}

/// A peer connection on its way to a [`Link`].
struct Starting {
    handle: PeerHandle,
    channel: Option<DataChannel>,
    incoming: oneshot::Receiver<DataChannel>,
    candidates: mpsc::Receiver<Option<RtcIceCandidateInit>>,
    lost: watch::Receiver<bool>,
    pump: JoinHandle<()>,
}

impl Starting {
    async fn new(api: &Api, configuration: RtcConfiguration, role: Role) -> Result<Self, MeetError> {
        let pc = api.peer_connection(configuration).await?;
        let handle = pc.handle();
        let channel = match role {
            Role::Receiver => None,
            Role::Sender => {
                let init = RtcDataChannelInit {
                    protocol: PROTOCOL.into(),
                    ..Default::default()
                };
                Some(pc.create_data_channel(LABEL, init).await?)
            }
        };
        let (opened, incoming) = oneshot::channel();
        let (gathered, candidates) = mpsc::channel(64);
        let (lose, lost) = watch::channel(false);
        let pump = tokio::spawn(pump(pc, opened, gathered, lose));
        Ok(Self {
            handle,
            channel,
            incoming,
            candidates,
            lost,
            pump,
        })
    }

    /// Waits for the channel to open.
    async fn finish(mut self) -> Result<Link, MeetError> {
        let opened = async {
            let mut channel = match self.channel.take() {
                Some(channel) => channel,
                None => (&mut self.incoming).await.map_err(|_| MeetError::NotConnected)?,
            };
            channel.opened().await.map_err(|_| MeetError::NotConnected)?;
            Ok(channel)
        };
        let mut lost = self.lost.clone();
        let channel = tokio::select! {
            opened = timeout(CONNECT_LIMIT, opened) => opened.unwrap_or(Err(MeetError::NotConnected)),
            _ = lost.wait_for(|lost| *lost) => Err(MeetError::NotConnected),
        };
        match channel {
            Ok(channel) => Ok(Link {
                channel,
                lost: self.lost,
                handle: self.handle,
                pump: self.pump,
            }),
            Err(error) => {
                self.handle.close().await;
                Err(error)
            }
        }
    }
}

async fn pump(
    mut pc: PeerConnection,
    opened: oneshot::Sender<DataChannel>,
    gathered: mpsc::Sender<Option<RtcIceCandidateInit>>,
    lose: watch::Sender<bool>,
) {
    let mut opened = Some(opened);
    while let Some(event) = pc.next_event().await {
        match event {
            Event::IceCandidate(candidate) => {
                // Nobody listens once the two have met.
                _ = gathered.try_send(candidate);
            }
            Event::DataChannel(channel) if channel.protocol() == PROTOCOL => {
                if let Some(opened) = opened.take() {
                    _ = opened.send(channel);
                }
            }
            Event::ConnectionStateChange(RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed) => break,
            _ => {}
        }
    }
    lose.send_replace(true);
    // Whoever waits for room in the channel gets an error instead.
    pc.close().await;
}

type Ask = Arc<Mutex<dyn FnMut() -> io::Result<String> + Send>>;

/// Two lines that a person carries from one end to the other.
pub struct Pasting {
    role: Role,
    show: Box<dyn FnMut(&str) + Send>,
    ask: Ask,
}

impl Pasting {
    /// At the terminal.
    pub fn terminal(role: Role) -> Self {
        let show = move |line: &str| match role {
            Role::Sender => {
                eprintln!("On the other machine run `antiphon recv`, and paste there:\n");
                print_line(format_args!("{line}\n"));
                eprintln!("Then paste its answer here:");
            }
            Role::Receiver => {
                eprintln!("\nPaste this at the sender:\n");
                print_line(format_args!("{line}\n"));
            }
        };
        if role == Role::Receiver {
            eprintln!("Paste the line that `antiphon send` shows:");
        }
        let ask = || {
            let mut line = String::new();
            while line.trim().is_empty() {
                line.clear();
                if io::stdin().read_line(&mut line)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(line)
        };
        Self::new(role, show, ask)
    }

    /// By other means: `show` takes our line, `ask` blocks for the other end's.
    pub fn new(
        role: Role,
        show: impl FnMut(&str) + Send + 'static,
        ask: impl FnMut() -> io::Result<String> + Send + 'static,
    ) -> Self {
        Self {
            role,
            show: Box::new(show),
            ask: Arc::new(Mutex::new(ask)),
        }
    }

    async fn theirs(&mut self) -> Result<Card, MeetError> {
        let offer = self.role == Role::Receiver;
        loop {
            let ask = self.ask.clone();
            let line = tokio::task::spawn_blocking(move || ask.lock().unwrap_or_else(PoisonError::into_inner)())
                .await
                .map_err(|_| MeetError::NoInput)?
                .map_err(|_| MeetError::NoInput)?;
            match Card::decode(offer, &line) {
                Ok(card) => return Ok(card),
                // A slip of the mouse: ask again.
                Err(error @ (CardError::Damaged | CardError::Kind)) => eprintln!("{error}"),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn link(&mut self, api: &Api, configuration: RtcConfiguration) -> Result<Link, MeetError> {
        let mut starting = Starting::new(api, configuration, self.role).await?;
        let handle = starting.handle.clone();
        if self.role == Role::Receiver {
            let offer = self.theirs().await?.to_sdp();
            handle
                .set_remote_description(RtcSessionDescription::offer(offer))
                .await?;
        }
        handle.set_local_description(None).await?;
        // The line goes once: all candidates must be in it.
        while let Some(Some(_)) = starting.candidates.recv().await {}
        let ours = handle.local_description().await?.ok_or(MeetError::NotConnected)?;
        let card = Card::from_sdp(self.role == Role::Sender, &ours.sdp)?;
        (self.show)(&card.encode());
        if self.role == Role::Sender {
            let answer = self.theirs().await?.to_sdp();
            handle
                .set_remote_description(RtcSessionDescription::answer(answer))
                .await?;
        }
        starting.finish().await
    }
}

/// A code at a signalling server (`docs/signalling.md`, "/meet").
#[derive(Debug)]
pub struct Signalled {
    url: String,
    role: Role,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Signalled {
    /// `server` is `ws://host:port` or `wss://host`, with or without a path before `/meet`.
    ///
    /// # Errors
    /// [`MeetError::Code`].
    pub fn new(server: &str, code: &str, role: Role) -> Result<Self, MeetError> {
        if !is_code(code) {
            return Err(MeetError::Code);
        }
        let side = match role {
            Role::Sender => "send",
            Role::Receiver => "recv",
        };
        // People paste what their browser shows.
        let server = match server.strip_prefix("http") {
            Some(rest) => format!("ws{rest}"),
            None => server.to_owned(),
        };
        Ok(Self {
            url: format!("{}/meet/{code}?role={side}", server.trim_end_matches('/')),
            role,
        })
    }

    async fn link(&mut self, api: &Api, configuration: RtcConfiguration) -> Result<Link, MeetError> {
        let unreachable = |error: tokio_tungstenite::tungstenite::Error| {
            MeetError::Unreachable(plain(&error.to_string()).to_string())
        };
        let (mut socket, _) = connect_async(&self.url).await.map_err(unreachable)?;
        let mut there = false;
        loop {
            // The other end may come long after this one.
            while !there {
                there = next(&mut socket).await?["type"] == "peer";
            }
            let starting = Starting::new(api, configuration.clone(), self.role).await?;
            match self.exchange(&mut socket, starting).await {
                // It left before a connection came about: wait for it to come again.
                Ok(Exchange::Left) => there = false,
                Ok(Exchange::Again) => {}
                Ok(Exchange::Open(link)) => {
                    _ = socket.close(None).await;
                    return Ok(*link);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn exchange(&self, socket: &mut Socket, mut starting: Starting) -> Result<Exchange, MeetError> {
        let handle = starting.handle.clone();
        if self.role == Role::Sender {
            describe(socket, &handle, "offer").await?;
        }
        let mut candidates = std::mem::replace(&mut starting.candidates, mpsc::channel(1).1);
        let finish = starting.finish();
        tokio::pin!(finish);
        // The end whose channel opens first leaves first: that is no reason to give up.
        let mut given_up = None;
        loop {
            tokio::select! {
                link = &mut finish => return link.map(|link| Exchange::Open(Box::new(link))),
                () = until(given_up) => {
                    handle.close().await;
                    return Ok(Exchange::Left);
                }
                Some(candidate) = candidates.recv() => {
                    say(socket, &json!({"type": "candidate", "candidate": candidate})).await?;
                }
                message = next(socket) => {
                    let message = message?;
                    let sdp = || message["sdp"].as_str().unwrap_or_default().to_owned();
                    match message["type"].as_str() {
                        Some("offer") if self.role == Role::Receiver => {
                            handle.set_remote_description(RtcSessionDescription::offer(sdp())).await?;
                            describe(socket, &handle, "answer").await?;
                        }
                        Some("answer") if self.role == Role::Sender => {
                            handle.set_remote_description(RtcSessionDescription::answer(sdp())).await?;
                        }
                        Some("candidate") => {
                            let candidate: Option<RtcIceCandidateInit> = serde_json::from_value(message["candidate"].clone())
                                .map_err(|error| MeetError::Refused(plain(&error.to_string()).to_string()))?;
                            // One that we cannot use is the other end's loss alone.
                            _ = handle.add_ice_candidate(candidate).await;
                        }
                        Some("left") => given_up = Some(Instant::now() + LEFT_LIMIT),
                        Some("peer") => {
                            handle.close().await;
                            return Ok(Exchange::Again);
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

/// What came of an exchange of descriptions.
enum Exchange {
    Open(Box<Link>),
    /// The other end left before a connection came about.
    Left,
    /// It left, and is there again.
    Again,
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn describe(socket: &mut Socket, handle: &PeerHandle, kind: &str) -> Result<(), MeetError> {
    handle.set_local_description(None).await?;
    let ours = handle.local_description().await?.ok_or(MeetError::NotConnected)?;
    say(socket, &json!({"type": kind, "sdp": ours.sdp})).await
}

async fn say(socket: &mut Socket, message: &Value) -> Result<(), MeetError> {
    let sent = socket.send(Frame::text(message.to_string())).await;
    sent.map_err(|error| MeetError::Unreachable(plain(&error.to_string()).to_string()))
}

/// The next JSON message; what the server refuses is an error.
async fn next(socket: &mut Socket) -> Result<Value, MeetError> {
    loop {
        match socket.next().await {
            Some(Ok(Frame::Text(text))) => {
                let message: Value = serde_json::from_str(&text)
                    .map_err(|error| MeetError::Unreachable(plain(&error.to_string()).to_string()))?;
                if message["type"] == "error" {
                    let reason = message["message"].as_str().unwrap_or("no reason given");
                    return Err(MeetError::Refused(plain(reason).to_string()));
                }
                return Ok(message);
            }
            Some(Ok(Frame::Close(_))) | None => return Err(MeetError::Unreachable("it closed the socket".into())),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(MeetError::Unreachable(plain(&error.to_string()).to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for code in ["", "abc", "abcd", "a/b/c", "../..", "with space"] {
            assert!(matches!(
                Signalled::new("ws://h", code, Role::Sender),
                Err(MeetError::Code)
            ));
        }
        assert_eq!(
            Signalled::new("https://h:1/", "k7m2q-xd4ha", Role::Receiver)
                .unwrap()
                .url,
            "wss://h:1/meet/k7m2q-xd4ha?role=recv"
        );
    }
}

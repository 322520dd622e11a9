//! A server on a free port, and clients that are not browsers.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

pub mod figures;
pub mod guest;

use std::net::SocketAddr;
use std::time::Duration;

use antiphon::{Api, Event, PeerConnection, RtcConfiguration, RtcIceCandidateInit, RtcSessionDescription};
use antiphon_cli::args::{Args, Command};
use antiphon_cli::server::{Patience, Server};
use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Keeps a broken run finite; nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

pub struct Running {
    pub addr: SocketAddr,
    /// Where the figures are, if they are asked for.
    pub metrics: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub async fn start(flags: &[&str]) -> Self {
        Self::with(flags, Patience::default()).await
    }

    pub async fn with(flags: &[&str], patience: Patience) -> Self {
        let args = ["antiphon", "serve", "--listen", "127.0.0.1:0"]
            .into_iter()
            .chain(flags.iter().copied());
        let Some(Command::Serve(args)) = Args::parse_from(args).command else {
            panic!("serve")
        };
        let server = Server::bind(&args).await.unwrap().patience(patience);
        let addr = server.local_addr().unwrap();
        let metrics = server.metrics_addr();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            server.serve(async { _ = stopped.await }).await.unwrap();
        });
        Self {
            addr,
            metrics,
            stop,
            task,
        }
    }

    /// Ctrl-C: returns when every session has ended.
    pub async fn stop(self) {
        _ = self.stop.send(());
        within("a graceful stop", self.task).await.unwrap();
    }

    pub async fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.http_from("127.0.0.1", method, path, headers, body).await
    }

    /// A connection from this loopback address.
    pub async fn connect_from(&self, local: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(local.parse().unwrap(), 0)).unwrap();
        socket.connect(self.addr).await.unwrap()
    }

    pub async fn http_from(
        &self,
        local: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        ask(self.connect_from(local).await, self.addr, method, path, headers, body).await
    }

    pub async fn socket(&self) -> Socket {
        Socket::connect(self.addr).await
    }
}

pub async fn http(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    ask(
        TcpStream::connect(addr).await.unwrap(),
        addr,
        method,
        path,
        headers,
        body,
    )
    .await
}

async fn ask(
    mut stream: TcpStream,
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request.push_str(&format!("Host: {addr}\r\n"));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    // A server that refuses a body may close before it has read all of it.
    _ = stream.write_all(body.as_bytes()).await;
    let mut bytes = Vec::new();
    _ = within("an HTTP answer", stream.read_to_end(&mut bytes)).await;
    Answer::parse(&String::from_utf8(bytes).unwrap())
}

pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Self {
            status,
            headers,
            body: body.to_owned(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub async fn connect(addr: SocketAddr) -> Self {
        let (socket, _) = connect_async(format!("ws://{addr}/ws")).await.unwrap();
        Self(socket)
    }

    pub async fn send(&mut self, message: Value) {
        self.send_raw(Message::Text(message.to_string().into())).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    /// `false` when the other end has gone.
    pub async fn try_send(&mut self, message: Value) -> bool {
        self.try_send_raw(Message::Text(message.to_string().into())).await
    }

    /// `false` when the other end has gone.
    pub async fn try_send_raw(&mut self, message: Message) -> bool {
        self.0.send(message).await.is_ok()
    }

    /// The next message that is not statistics; `None` when the socket has closed.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let value = self.next_of_all().await?;
            if value["type"] != "stats" {
                return Some(value);
            }
        }
    }

    /// The next message, statistics included; `None` when the socket has closed. Cancel safe.
    pub async fn next_of_all(&mut self) -> Option<Value> {
        loop {
            match within("a message", self.0.next()).await {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next message of that type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("closed before {kind}"));
            if message["type"] == kind {
                return message;
            }
        }
    }
}

/// A peer connection of ours as a client.
pub async fn client() -> PeerConnection {
    let api = Api::builder().loopback(true).build().unwrap();
    api.peer_connection(RtcConfiguration::default()).await.unwrap()
}

/// An offer with all candidates in it.
pub async fn whole_offer(pc: &mut PeerConnection) -> String {
    pc.set_local_description(None).await.unwrap();
    within("candidates", async {
        while !matches!(pc.next_event().await, Some(Event::IceCandidate(None)) | None) {}
    })
    .await;
    pc.local_description().await.unwrap().unwrap().sdp
}

/// Trickles both ways over `/ws` and hands every other event to `see`, until that returns `true`.
pub async fn drive(pc: &mut PeerConnection, socket: &mut Socket, mut see: impl AsyncFnMut(Event) -> bool) {
    loop {
        tokio::select! {
            event = within("an event", pc.next_event()) => match event.expect("the connection lives") {
                Event::IceCandidate(candidate) => {
                    let candidate = candidate.map(|c| json!({
                        "candidate": c.candidate, "sdpMid": c.sdp_mid,
                        "sdpMLineIndex": c.sdp_m_line_index, "usernameFragment": c.username_fragment,
                    }));
                    socket.send(json!({ "type": "candidate", "candidate": candidate })).await;
                }
                event => if see(event).await { return },
            },
            message = socket.next() => {
                let message = message.expect("the socket lives");
                match message["type"].as_str().unwrap() {
                    "offer" => {
                        let sdp = message["sdp"].as_str().unwrap();
                        pc.set_remote_description(RtcSessionDescription::offer(sdp)).await.unwrap();
                        pc.set_local_description(None).await.unwrap();
                        let answer = pc.local_description().await.unwrap().unwrap();
                        socket.send(json!({ "type": "answer", "sdp": answer.sdp })).await;
                    }
                    "answer" => {
                        let sdp = message["sdp"].as_str().unwrap();
                        pc.set_remote_description(RtcSessionDescription::answer(sdp)).await.unwrap();
                    }
                    "candidate" => {
                        let candidate = message["candidate"].as_object().map(|c| RtcIceCandidateInit {
                            candidate: c["candidate"].as_str().unwrap().to_owned(),
                            sdp_mid: c["sdpMid"].as_str().map(str::to_owned),
                            sdp_m_line_index: c["sdpMLineIndex"].as_u64().map(|n| n as u16),
                            username_fragment: c["usernameFragment"].as_str().map(str::to_owned),
                        });
                        pc.add_ice_candidate(candidate).await.unwrap();
                    }
                    "welcome" => {}
                    other => panic!("{other}: {message}"),
                }
            }
        }
    }
}

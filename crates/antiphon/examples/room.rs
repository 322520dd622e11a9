//! A room in the browser, as programs for mediasoup 1.x make it: everybody who opens the page sees and hears everybody else.
//!
//!     cargo run --release -p antiphon --example room        then open http://127.0.0.1:8082 in two tabs
//!
//! The server always offers, to `/join/NAME?plan-b` in Plan B. Browsers give cameras to pages from HTTPS and from `127.0.0.1` alone.

use antiphon::RtcSessionDescription;
use antiphon::room::{
    Error, OfferOptions, Room, RoomOptions, RtcPeerConnection, RtcPeerConnectionEvent, RtcPeerConnectionOptions,
    Server, ServerOptions,
};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, RawQuery, State};
use axum::response::Html;
use axum::routing::get;

const PAGE: &str = r#"<!doctype html><meta charset=utf-8><title>Room</title><style>video { width: 24em }</style><script type=module>
const show = (stream, muted) => {
  const looks = { autoplay: true, playsInline: true, muted, id: stream.id, srcObject: stream };
  document.body.append(Object.assign(document.createElement('video'), looks));
};
const own = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
show(own, true);
const [able, pc] = [new RTCPeerConnection(), new RTCPeerConnection()];
for (const kind of ['audio', 'video']) able.addTransceiver(kind, { direction: 'recvonly' });
const { sdp: capabilities } = await able.createOffer();
able.close();

const socket = new WebSocket(`ws://${location.host}/join/guest-${Math.floor(Math.random() * 1e6)}`);
const send = (message) => socket.send(JSON.stringify(message));
for (const track of own.getTracks()) pc.addTrack(track, own);
pc.ontrack = ({ streams: [stream] }) => {
  if (document.getElementById(stream.id)) return;
  show(stream, false);
  stream.onremovetrack = () => stream.getTracks().length || document.getElementById(stream.id)?.remove();
};
socket.onopen = () => send({ capabilities });
socket.onmessage = async ({ data }) => {
  await pc.setRemoteDescription(JSON.parse(data));
  await pc.setLocalDescription();
  send(pc.localDescription);
};
</script>"#;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let (mut options, mut address) = (ServerOptions::default(), "127.0.0.1:8082".to_owned());
    for setting in std::env::args().skip(1) {
        // For instance `listen=0.0.0.0:8082 rtcIPv4=192.0.2.1 numWorkers=2`.
        match setting.split_once('=').ok_or("an argument is NAME=VALUE")? {
            ("listen", value) => address = value.to_owned(),
            (option, value) => options.set(option, value)?,
        }
    }
    let server = Server::new(options).await?;
    let room = server.create_room(RoomOptions::browsers()).await?;
    let join = async |Path(name): Path<String>, query: RawQuery, room: State<Room>, upgrade: WebSocketUpgrade| {
        let use_plan_b = query.0.as_deref() == Some("plan-b");
        upgrade.on_upgrade(async move |mut socket| {
            if let Err(error) = participate(&room, &name, use_plan_b, &mut socket).await {
                eprintln!("{name}: {error}");
            }
        })
    };
    let app = axum::Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/join/{name}", get(join))
        .with_state(room);
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("open http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// A participant's life: from its capabilities to the moment at which its socket or its connection ends.
async fn participate(room: &Room, name: &str, use_plan_b: bool, socket: &mut WebSocket) -> Outcome {
    let peer = room.peer(name).await?;
    let mut options = RtcPeerConnectionOptions::new(&peer);
    options.use_plan_b = use_plan_b;
    let pc = RtcPeerConnection::new(options).await?;
    let mut events = pc.events();
    loop {
        tokio::select! {
            message = socket.recv() => {
                let Some(Ok(Message::Text(text))) = message else { break };
                let message: serde_json::Value = serde_json::from_str(&text)?;
                if let Some(sdp) = message["capabilities"].as_str() {
                    pc.set_capabilities(sdp).await?;
                    offer(&pc, socket).await?;
                } else {
                    let (sdp_type, sdp) = (message["type"].as_str(), message["sdp"].as_str());
                    let answer = RtcSessionDescription::from_words(sdp_type.unwrap_or_default(), sdp.unwrap_or_default())?;
                    if let Err(error) = pc.set_remote_description(answer).await {
                        eprintln!("{name}: {error}");
                        pc.reset().await?; // negotiationneeded follows, for what the client has not got
                    }
                }
            }
            event = events.next() => match event {
                Some(RtcPeerConnectionEvent::NegotiationNeeded) => offer(&pc, socket).await?,
                Some(RtcPeerConnectionEvent::Close(_)) | None => break,
                Some(_) => {}
            },
        }
    }
    peer.close().await;
    Ok(())
}

async fn offer(pc: &RtcPeerConnection, socket: &mut WebSocket) -> Outcome {
    let offer = match pc.create_offer(OfferOptions::default()).await {
        // One is under way already, which tells the client the same; or we are told again after it.
        Err(Error::Busy { .. } | Error::InvalidState { .. }) => return Ok(()),
        made => made?,
    };
    pc.set_local_description(offer).await?;
    let set = pc.local_description().await?.ok_or(Error::Closed("connection"))?;
    Ok(socket.send(Message::text(set.serialize())).await?)
}

//! A room of `antiphon serve` into a folder: somebody who only watches, and writes down what everybody else sends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use antiphon::whip::Connection;
use antiphon::{
    Direction, Event, MediaKind, Output, PeerConnection, RtcPeerConnectionState, RtcRtpTransceiverInit,
    RtcSessionDescription,
};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::interval;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::args::RecordArgs;
use super::folder::{Folder, Group, Groups, Part};
use super::record::capabilities;
use super::{KINDS, StreamError, line, over};
use crate::stop::Stop;
use crate::text::print_line;

/// How often the figures are shown anew.
const TICK: Duration = Duration::from_millis(250);

/// What came of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomRecorded {
    /// Files that were begun.
    pub files: usize,
    /// Frames and packets of sound in them.
    pub written: u64,
}

/// What the server says, as far as a recorder needs it (docs/signalling.md, "Rooms").
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Told {
    Joined {
        participants: Vec<Person>,
    },
    Entered {
        participant: Person,
    },
    Left {
        id: String,
    },
    Offer {
        sdp: String,
    },
    Tracks {
        tracks: Vec<TrackOf>,
    },
    Error {
        message: String,
    },
    #[serde(other)]
    Else,
}

#[derive(Debug, Deserialize)]
struct Person {
    id: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct TrackOf {
    mid: String,
    participant: String,
    source: String,
}

/// Somebody in a room who records.
struct Recording {
    socket: WebSocketStream<Connection>,
    pc: PeerConnection,
    folder: Folder,
    /// Names by id.
    people: BTreeMap<String, String>,
}

/// Runs `antiphon record --room` until the duration is over, or a signal comes, or the server ends.
///
/// # Errors
/// Any [`StreamError`]. What was received until then is in the folder.
pub async fn record_room(args: RecordArgs) -> Result<RoomRecorded, StreamError> {
    let stop = Stop::new()?;
    let room = args.room.as_deref().unwrap_or_default();
    // People paste what their browser shows.
    let url = match args.from.strip_prefix("ws") {
        Some(rest) if rest.contains("://") => format!("http{rest}"),
        _ => args.from.clone(),
    };
    let base = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let signalling = format!("{base}/ws");
    let endpoint = args.server.endpoint(&signalling)?;
    let folder = Folder::new(args.file.clone(), room, &args.format)?;
    let mut configuration = args.server.configuration(&endpoint).await?;
    configuration.settings.capabilities = Arc::new(capabilities(folder.format()));
    configuration.settings.receive_output = Output::Frames;
    let api = args.server.api(&url)?;
    let can = {
        let own = api.peer_connection(configuration.clone()).await?;
        for kind in KINDS {
            let init = RtcRtpTransceiverInit::new(Direction::RecvOnly);
            own.add_transceiver(kind, init).await?;
        }
        own.create_offer(Default::default()).await?.sdp
    };
    let stream = endpoint.open().await?;
    // The stream is there, so only the name and the path of this count.
    let (_, rest) = signalling.split_once("://").unwrap_or_default();
    let (socket, _) = client_async(format!("ws://{rest}"), stream).await.map_err(broken)?;
    let mut own = Recording {
        socket,
        pc: api.peer_connection(configuration).await?,
        folder,
        people: BTreeMap::new(),
    };
    let join = json!({
        "type": "join", "room": room, "name": args.name, "token": args.server.token, "record": true, "sdp": can,
    });
    let result = match own.say(&join).await {
        Ok(()) => own.run(args.duration, stop).await,
        Err(error) => Err(error),
    };
    // Each of these is done whatever came of the others; what failed first is told.
    _ = own.say(&json!({"type": "bye"})).await;
    _ = own.socket.close(None).await;
    own.pc.close().await;
    let finished = own.folder.finish().await;
    result.and(finished)?;
    let (files, written) = own.folder.count();
    print_line(format!(
        "recorded {files} files in {}: {written} frames and packets",
        args.file.display()
    ));
    Ok(RoomRecorded { files, written })
}

fn broken(error: tokio_tungstenite::tungstenite::Error) -> StreamError {
    StreamError::Signalling(error.to_string())
}

impl Recording {
    async fn say(&mut self, message: &Value) -> Result<(), StreamError> {
        self.socket
            .send(Message::Text(message.to_string().into()))
            .await
            .map_err(broken)
    }

    /// Takes what comes until it is over.
    async fn run(&mut self, limit: Option<Duration>, stop: Stop) -> Result<(), StreamError> {
        let progress = line();
        let mut tick = interval(TICK);
        let (time, stopped) = (over(limit), stop.asked("stopping"));
        tokio::pin!(time, stopped);
        let peer = self.pc.handle();
        let mut connected = false;
        loop {
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        let told = serde_json::from_str(&text).map_err(|e| StreamError::Signalling(e.to_string()))?;
                        self.take(told).await?;
                    }
                    Some(Ok(Message::Close(_))) | None => return Err(StreamError::Broken),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(broken(error)),
                },
                event = self.pc.next_event() => match event {
                    Some(Event::ConnectionStateChange(state)) => match state {
                        RtcPeerConnectionState::Connected => connected = true,
                        // The way is lost: the server offers another.
                        RtcPeerConnectionState::Failed if connected => self.say(&json!({"type": "restart"})).await?,
                        RtcPeerConnectionState::Failed => return Err(StreamError::NoConnection),
                        _ => {}
                    },
                    Some(event) => self.folder.take(&peer, &event),
                    None => return Err(StreamError::Broken),
                },
                _ = tick.tick() => {
                    let people = self.people.len().saturating_sub(1);
                    progress.set_message(format!("{people} to record, {} files", self.folder.count().0));
                }
                () = &mut time => return Ok(()),
                () = &mut stopped => return Ok(()),
            }
        }
    }

    async fn take(&mut self, told: Told) -> Result<(), StreamError> {
        match told {
            Told::Joined { participants } => {
                // Only now, so that a server that refuses costs no folder.
                self.folder.make()?;
                self.people = participants
                    .into_iter()
                    .map(|person| (person.id, person.name))
                    .collect();
            }
            Told::Entered { participant } => _ = self.people.insert(participant.id, participant.name),
            Told::Left { id } => {
                self.people.remove(&id);
                self.folder.leave(&id).await;
            }
            Told::Offer { sdp } => {
                self.pc
                    .set_remote_description(RtcSessionDescription::offer(sdp))
                    .await?;
                self.pc.set_local_description(None).await?;
                let answer = self.pc.local_description().await?.map(|answer| answer.sdp);
                self.say(&json!({"type": "answer", "sdp": answer})).await?;
            }
            Told::Tracks { tracks } => {
                let groups = self.groups(tracks).await?;
                self.folder.follow(groups).await;
            }
            // Before the server has let us in, a refusal is the end.
            Told::Error { message } if self.people.is_empty() => return Err(StreamError::Refused(message)),
            Told::Error { message } => tracing::warn!("the server: {message}"),
            Told::Else => {}
        }
        Ok(())
    }

    /// The tracks of each participant, those of its screen apart.
    async fn groups(&self, tracks: Vec<TrackOf>) -> Result<Groups, StreamError> {
        let transceivers = self.pc.transceivers().await?;
        let mut groups = Groups::new();
        for TrackOf {
            mid,
            participant,
            source,
        } in tracks
        {
            let own = transceivers.iter().find(|own| own.mid() == Some(mid.as_str()));
            let Some(own) = own.filter(|own| own.receive().is_some_and(|receive| !receive.codecs.is_empty())) else {
                continue;
            };
            let is_screen = source == "screen" && own.kind() == MediaKind::Video;
            let part = if is_screen { Part::Screen } else { Part::Camera };
            let name = self.people.get(&participant).cloned().unwrap_or_default();
            let group = groups.entry((participant, part));
            let tracks = &mut group
                .or_insert(Group {
                    name,
                    tracks: Vec::new(),
                })
                .tracks;
            tracks.push(own.id());
            tracks.sort_unstable();
        }
        Ok(groups)
    }
}

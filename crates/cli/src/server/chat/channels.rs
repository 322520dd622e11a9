//! What the server does on data channels, by label: `chat`, `file`, and echo for all others.

use std::sync::Arc;

use antiphon::{DataChannel, Error, Message, MessageKind};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::broadcast::error::RecvError;

use super::file_space::{MAX_EACH, Space};
use super::hall::{Hall, Line};

/// The longest stretch of noise that can be fetched.
const MAX_NOISE: u64 = 1024 * 1024 * 1024;
const MAX_CHAT_CHARACTERS: usize = 2_000;
const MAX_NAME_CHARACTERS: usize = 200;
/// Every stack takes messages of this size. Not 64 KiB: some close a channel on a message of 65536 bytes.
const CHUNK: usize = 60 * 1024;
/// What one channel has sent back at most, in messages and bytes: a far end that sends back what it gets, changed or not, would have it
/// go round for ever otherwise, and nothing else tells such a one from a client that sends much.
const MAX_ECHOED: u32 = 20_000;
const MAX_ECHOED_BYTES: u64 = 1024 * 1024 * 1024;
/// Lines that are taken from one chat channel.
const MAX_LINES: u32 = 2_000;
/// Answers on one file channel.
const MAX_REPLIES: u32 = 20_000;

/// Serves one channel until it closes.
pub(in crate::server) async fn serve(hall: Arc<Hall>, session: u64, mut channel: DataChannel) {
    if channel.opened().await.is_err() {
        return;
    }
    let result = match channel.label() {
        "chat" => chat(&hall, session, &mut channel).await,
        "file" => {
            Files {
                hall,
                session,
                file: None,
                incoming: None,
            }
            .serve(&mut channel)
            .await
        }
        _ => echo(&mut channel).await,
    };
    if let Err(error) = result {
        tracing::debug!(session, label = channel.label(), %error, "data channel ended");
    }
}

/// What is left of what a channel may have sent back. A new channel begins anew, but only somebody who means it opens one.
struct Allowance {
    messages: u32,
    bytes: u64,
}

impl Allowance {
    fn messages(messages: u32) -> Self {
        Self {
            messages,
            bytes: u64::MAX,
        }
    }

    /// Takes one message of this size from it. `false`: it is used up.
    fn take(&mut self, bytes: usize) -> bool {
        let left = self.messages.checked_sub(1).zip(self.bytes.checked_sub(bytes as u64));
        if let Some((messages, bytes)) = left {
            *self = Self { messages, bytes };
        }
        left.is_some()
    }
}

async fn echo(channel: &mut DataChannel) -> Result<(), Error> {
    let mut allowance = Allowance {
        messages: MAX_ECHOED,
        bytes: MAX_ECHOED_BYTES,
    };
    let mut told = None;
    while let Some(message) = channel.recv().await {
        let (size, most) = (message.data.len(), channel.max_message_size());
        if told.is_some() && text_of(&message) == told.as_deref() {
            // The far end echoes too, and this was ours.
            continue;
        }
        if !allowance.take(size) {
            return end(channel, "this channel has echoed enough: open another one").await;
        }
        if size > most {
            let text = trouble(&format!(
                "your message of {size} bytes cannot come back: you take at most {most}"
            ));
            channel.send_text(text.clone()).await?;
            told = Some(text);
            continue;
        }
        channel.send(message).await?;
    }
    Ok(())
}

/// Says why, and closes the channel.
async fn end(channel: &DataChannel, why: &str) -> Result<(), Error> {
    channel.send_text(trouble(why)).await?;
    channel.close();
    Ok(())
}

fn trouble(message: &str) -> String {
    json(&FileReply::Error { message })
}

#[derive(Serialize)]
struct Spoken<'a> {
    from: String,
    text: &'a str,
    you: bool,
}

/// What only a server says, read: it comes from another one, or from a far end that echoes us.
#[derive(Deserialize)]
#[allow(dead_code, reason = "the form counts")]
struct SpokenElsewhere {
    from: String,
    text: String,
    you: bool,
}

async fn chat(hall: &Hall, session: u64, channel: &mut DataChannel) -> Result<(), Error> {
    let mut lines = hall.lines.subscribe();
    let here = hall.guests.taken();
    let greeting = format!(
        "Welcome, guest {session}. {}",
        if here > 1 {
            format!("{} are here.", here)
        } else {
            "You are the only one here.".to_owned()
        }
    );
    channel
        .send_text(json(&Spoken {
            from: "Antiphon".into(),
            text: &greeting,
            you: false,
        }))
        .await?;
    let mut allowance = Allowance::messages(MAX_LINES);
    loop {
        tokio::select! {
            message = channel.recv() => {
                let Some(message) = message else { return Ok(()) };
                if let Some(text) = text_of(&message) {
                    if serde_json::from_str::<SpokenElsewhere>(text).is_ok() {
                        continue;
                    }
                    if !allowance.take(text.len()) {
                        return end(channel, "that is enough for one chat").await;
                    }
                    let text = text.chars().take(MAX_CHAT_CHARACTERS).collect();
                    // There is always one listener: we.
                    _ = hall.lines.send(Line { session, text });
                }
            }
            line = lines.recv() => match line {
                Ok(line) => {
                    let you = line.session == session;
                    let spoken = Spoken { from: format!("guest {}", line.session), text: &line.text, you };
                    channel.send_text(json(&spoken)).await?;
                }
                // A slow reader misses lines rather than holding up the others.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum FileRequest {
    File {
        name: String,
        size: u64,
    },
    End {
        sha256: String,
    },
    Fetch {
        size: Option<u64>,
    },
    /// What only a server says. It comes from another one, or from a far end that echoes us, and is not answered.
    Error {},
    Received {},
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum FileReply<'a> {
    File { name: &'a str, size: u64 },
    End { sha256: String },
    Received { bytes: u64, sha256: String },
    Error { message: &'a str },
}

struct Stored {
    name: String,
    size: u64,
    sha256: String,
    chunks: Vec<Bytes>,
    /// Gives the room back when the file goes.
    _space: Space,
}

struct Incoming {
    name: String,
    size: u64,
    received: u64,
    hash: Sha256,
    chunks: Vec<Bytes>,
    space: Space,
}

/// The `file` channel of one session.
struct Files {
    hall: Arc<Hall>,
    session: u64,
    file: Option<Stored>,
    incoming: Option<Incoming>,
}

impl Files {
    async fn serve(mut self, channel: &mut DataChannel) -> Result<(), Error> {
        let mut allowance = Allowance::messages(MAX_REPLIES);
        while let Some(message) = channel.recv().await {
            if message.kind == MessageKind::Text && !allowance.take(message.data.len()) {
                return end(channel, "that is enough for one channel: open another one").await;
            }
            let outcome = match message.kind {
                MessageKind::Binary => self.take(message.data),
                MessageKind::Text => match text_of(&message).and_then(|text| serde_json::from_str(text).ok()) {
                    Some(FileRequest::File { name, size }) => self.begin(name, size),
                    Some(FileRequest::End { sha256 }) => match self.end(&sha256) {
                        Ok(reply) => {
                            channel.send_text(json(&reply)).await?;
                            Ok(())
                        }
                        Err(message) => Err(message),
                    },
                    Some(FileRequest::Fetch { size: None }) => match &self.file {
                        Some(file) => {
                            send_stored(channel, file).await?;
                            Ok(())
                        }
                        None => Err("no file has been sent yet"),
                    },
                    Some(FileRequest::Fetch { size: Some(size) }) if size <= MAX_NOISE => {
                        send_noise(channel, self.session, size).await?;
                        Ok(())
                    }
                    Some(FileRequest::Fetch { .. }) => Err("at most 1 GiB of noise"),
                    Some(FileRequest::Error {} | FileRequest::Received {}) => Ok(()),
                    None => Err("not a message of the file channel"),
                },
            };
            if let Err(message) = outcome {
                // What follows of a file that was refused is dropped silently; one error is enough.
                channel.send_text(trouble(message)).await?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, name: String, size: u64) -> Result<(), &'static str> {
        self.incoming = None;
        // The old file goes first: its room may be what the new one needs.
        self.file = None;
        if size > MAX_EACH {
            return Err("files of more than 64 MiB are not kept");
        }
        let name = name.chars().take(MAX_NAME_CHARACTERS).collect();
        self.incoming = Some(Incoming {
            name,
            size,
            received: 0,
            hash: Sha256::new(),
            chunks: Vec::new(),
            space: self.hall.files.open(self.session),
        });
        Ok(())
    }

    fn take(&mut self, data: Bytes) -> Result<(), &'static str> {
        let Some(incoming) = &mut self.incoming else {
            return Ok(());
        };
        incoming.received += data.len() as u64;
        if incoming.received > incoming.size {
            self.incoming = None;
            return Err("more bytes came than were announced");
        }
        if let Err(full) = incoming.space.grow(data.len() as u64) {
            self.incoming = None;
            return Err(full);
        }
        incoming.hash.update(&data);
        // Small pieces are joined, or a file in messages of one byte would cost far more than its size.
        match incoming.chunks.last_mut() {
            Some(last) if last.len() + data.len() <= CHUNK => {
                let mut joined = Vec::with_capacity(CHUNK);
                joined.extend_from_slice(last);
                joined.extend_from_slice(&data);
                *last = joined.into();
            }
            _ => incoming.chunks.push(data),
        }
        Ok(())
    }

    fn end(&mut self, announced: &str) -> Result<FileReply<'static>, &'static str> {
        let incoming = self.incoming.take().ok_or("no file is being sent")?;
        if incoming.received != incoming.size {
            return Err("fewer bytes came than were announced");
        }
        let sha256 = hex(incoming.hash);
        if sha256 != announced {
            tracing::warn!(
                session = self.session,
                "a file arrived with another hash than it was sent with"
            );
        }
        let reply = FileReply::Received {
            bytes: incoming.received,
            sha256: sha256.clone(),
        };
        self.file = Some(Stored {
            name: incoming.name,
            size: incoming.size,
            sha256,
            chunks: incoming.chunks,
            _space: incoming.space,
        });
        Ok(reply)
    }
}

async fn send_stored(channel: &DataChannel, file: &Stored) -> Result<(), Error> {
    channel
        .send_text(json(&FileReply::File {
            name: &file.name,
            size: file.size,
        }))
        .await?;
    let piece = CHUNK.min(channel.max_message_size()).max(1);
    for chunk in &file.chunks {
        // What came in one message may exceed what the other side takes in one.
        for start in (0..chunk.len()).step_by(piece) {
            channel
                .send_binary(chunk.slice(start..chunk.len().min(start + piece)))
                .await?;
        }
    }
    channel
        .send_text(json(&FileReply::End {
            sha256: file.sha256.clone(),
        }))
        .await
}

async fn send_noise(channel: &DataChannel, seed: u64, size: u64) -> Result<(), Error> {
    channel
        .send_text(json(&FileReply::File {
            name: "noise.bin",
            size,
        }))
        .await?;
    let mut hash = Sha256::new();
    let mut state = seed;
    let mut left = size;
    let piece = CHUNK.min(channel.max_message_size()).max(1);
    while left > 0 {
        let length = left.min(piece as u64) as usize;
        let mut chunk = vec![0; length];
        for piece in chunk.chunks_mut(8) {
            piece.copy_from_slice(&noise(&mut state).to_le_bytes()[..piece.len()]);
        }
        hash.update(&chunk);
        channel.send_binary(chunk).await?;
        left -= length as u64;
    }
    channel.send_text(json(&FileReply::End { sha256: hex(hash) })).await
}

/// SplitMix64: noise that nothing depends on.
fn noise(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text_of(message: &Message) -> Option<&str> {
    match message.kind {
        MessageKind::Text => std::str::from_utf8(&message.data).ok(),
        MessageKind::Binary => None,
    }
}

fn json(value: &impl Serialize) -> String {
    // Strings and numbers always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

//! Encrypts frames with a key of the application's own, which no server on the way has: `cargo run -p antiphon --example encrypt`. Each
//! direction has keys of its own, here that of the pictures; when the key changes, the encoder is asked for a key frame.

#[allow(dead_code, reason = "each example uses its own part")]
mod meet;

use antiphon::{Api, Frame, FrameMetadata, FrameTransform, MediaKind, RtcConfiguration, Transformed};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// The number of the key, and that of the frame under it, stand behind each frame.
const TRAILER: usize = 1 + 8;
/// So many frames go under one key, so that the change is seen. A key is good for far more.
const FRAMES: u64 = 30;

/// Bytes that whoever forwards the frame reads, and that are therefore authenticated and not encrypted: the header of VP8, which tells
/// the size in a key frame, and the first byte of Opus.
fn clear(frame: &Frame, metadata: &FrameMetadata<'_>) -> usize {
    let vp8 = if frame.key_frame { 10 } else { 3 };
    (if metadata.codec == "VP8" { vp8 } else { 1 }).min(frame.data.len())
}

/// No two frames under one key have the same nonce: it is their number.
fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn key(bytes: &[u8; 16]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, bytes).expect("16 bytes"))
}

/// The keys of one direction, which both ends have from elsewhere.
#[derive(Default)]
struct Seal {
    keys: Vec<LessSafeKey>,
    current: u8,
    number: u64,
    changed: bool,
}

impl FrameTransform for Seal {
    fn transform(&mut self, frame: &Frame, metadata: &FrameMetadata<'_>) -> Transformed {
        if self.number == FRAMES && usize::from(self.current) + 1 < self.keys.len() {
            (self.current, self.number, self.changed) = (self.current + 1, 0, true);
        }
        let (key, number) = (&self.keys[usize::from(self.current)], self.number);
        self.number += 1;
        let (header, body) = frame.data.split_at(clear(frame, metadata));
        let mut body = body.to_vec();
        match key.seal_in_place_append_tag(nonce(number), Aad::from(header), &mut body) {
            Ok(()) => Transformed::Changed([header, &body, &[self.current], &number.to_be_bytes()].concat().into()),
            Err(_) => Transformed::Dropped,
        }
    }

    fn wants_key_frame(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

/// The same keys, and whether the newest frame could not be opened.
struct Open(Vec<LessSafeKey>, bool);

fn open(keys: &[LessSafeKey], frame: &Frame, metadata: &FrameMetadata<'_>) -> Option<Vec<u8>> {
    let (sealed, &[current, ref number @ ..]) = frame.data.split_last_chunk::<TRAILER>()?;
    let (header, body) = sealed.split_at_checked(clear(frame, metadata))?;
    let (key, mut body) = (keys.get(usize::from(current))?, body.to_vec());
    let opened = key.open_in_place(nonce(u64::from_be_bytes(*number)), Aad::from(header), &mut body);
    Some([header, opened.ok()?].concat())
}

impl FrameTransform for Open {
    fn transform(&mut self, frame: &Frame, metadata: &FrameMetadata<'_>) -> Transformed {
        let opened = open(&self.0, frame, metadata);
        self.1 = opened.is_none();
        opened.map_or(Transformed::Dropped, |data| Transformed::Changed(data.into()))
    }

    fn wants_key_frame(&mut self) -> bool {
        std::mem::take(&mut self.1) // what follows cannot be decoded without the frame that could not be opened
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = Api::builder().loopback(true).build()?;
    let mut sender = api.peer_connection(RtcConfiguration::default()).await?;
    let mut receiver = api.peer_connection(RtcConfiguration::default()).await?;
    let video = sender.add_transceiver(MediaKind::Video, Default::default()).await?;
    meet::meet(&mut sender, &mut receiver).await?;

    let mut secrets = [[0; 16]; 2]; // an application agrees on them end to end, by MLS for instance
    SystemRandom::new()
        .fill(secrets.as_flattened_mut())
        .expect("randomness");
    let keys = secrets.iter().map(key).collect();
    let seal = Seal {
        keys,
        ..Seal::default()
    };
    let open = Open(secrets.iter().map(key).collect(), false);
    let there = receiver.transceivers().await?[0].id();
    receiver.set_receiver_transform(there, Some(Box::new(open))).await?;
    sender.set_sender_transform(video, Some(Box::new(seal))).await?;

    let playing = tokio::spawn(meet::film(sender, video));
    for _ in 0..50 {
        let frame = meet::frame(&mut receiver).await.expect("frames come");
        assert_eq!((frame.data.len(), frame.data[100]), (2000, 0x55), "opened");
    }
    let (_sender, asked) = playing.await??;
    assert!(asked > 0, "the change of the key asks for a key frame");
    println!("50 frames were opened under two keys");
    Ok(())
}

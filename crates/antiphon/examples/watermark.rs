//! Marks each frame on its way, and checks and takes off the mark at the other end: `cargo run -p antiphon --example watermark`. The mark
//! says which frame it is, so that a frame of another stream, or of another time, is found out.

#[allow(dead_code, reason = "each example uses its own part")]
mod meet;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use antiphon::{Api, Frame, FrameMetadata, FrameTransform, MediaKind, RtcConfiguration, Transformed};

const WORD: &[u8; 4] = b"MARK";
/// The word, the stream, the timestamp, and the microseconds from the beginning until it was captured.
const MARK: usize = 4 + 4 + 4 + 8;

/// Writes the mark behind each frame.
struct Mark {
    began: Instant,
}

impl FrameTransform for Mark {
    fn transform(&mut self, frame: &Frame, metadata: &FrameMetadata<'_>) -> Transformed {
        let captured = metadata.capture_time.unwrap_or(self.began) - self.began;
        let mut data = Vec::with_capacity(frame.data.len() + MARK);
        data.extend_from_slice(&frame.data);
        data.extend_from_slice(WORD);
        data.extend_from_slice(&metadata.synchronization_source.to_be_bytes());
        data.extend_from_slice(&metadata.rtp_timestamp.to_be_bytes());
        data.extend_from_slice(&(captured.as_micros() as u64).to_be_bytes());
        Transformed::Changed(data.into())
    }
}

/// Takes the mark off, and lets no frame through that has none, or another's.
struct Check {
    began: Instant,
    /// Microseconds from the capture of the newest frame until its last packet came.
    delay: Arc<AtomicU32>,
}

impl Check {
    /// The length of the frame without its mark, and when it was captured; `None`: that is not its mark.
    fn read(&self, frame: &Frame, metadata: &FrameMetadata<'_>) -> Option<(usize, Duration)> {
        let (picture, mark) = frame.data.split_last_chunk::<MARK>()?;
        let [w0, w1, w2, w3, s0, s1, s2, s3, t0, t1, t2, t3, captured @ ..] = *mark;
        let own = [w0, w1, w2, w3] == *WORD
            && u32::from_be_bytes([s0, s1, s2, s3]) == metadata.synchronization_source
            && u32::from_be_bytes([t0, t1, t2, t3]) == metadata.rtp_timestamp;
        own.then(|| (picture.len(), Duration::from_micros(u64::from_be_bytes(captured))))
    }
}

impl FrameTransform for Check {
    fn transform(&mut self, frame: &Frame, metadata: &FrameMetadata<'_>) -> Transformed {
        let Some((len, captured)) = self.read(frame, metadata) else {
            return Transformed::Dropped;
        };
        let came = metadata.receive_time.unwrap_or(self.began) - self.began;
        let delay = came.saturating_sub(captured).as_micros();
        self.delay.store(delay as u32, Ordering::Relaxed);
        Transformed::Changed(frame.data.slice(..len))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = Api::builder().loopback(true).build()?;
    let mut sender = api.peer_connection(RtcConfiguration::default()).await?;
    let mut receiver = api.peer_connection(RtcConfiguration::default()).await?;
    let video = sender.add_transceiver(MediaKind::Video, Default::default()).await?;
    meet::meet(&mut sender, &mut receiver).await?;

    let (began, delay) = (Instant::now(), Arc::new(AtomicU32::new(0)));
    let there = receiver.transceivers().await?[0].id();
    let check = Check {
        began,
        delay: Arc::clone(&delay),
    };
    receiver.set_receiver_transform(there, Some(Box::new(check))).await?;
    sender
        .set_sender_transform(video, Some(Box::new(Mark { began })))
        .await?;

    let playing = tokio::spawn(meet::film(sender, video));
    for _ in 0..50 {
        let frame = meet::frame(&mut receiver).await.expect("frames come");
        assert_eq!(frame.data.len(), 2000, "the mark is gone");
    }
    println!(
        "50 frames bore their marks, the last {} µs after it was captured",
        delay.load(Ordering::Relaxed)
    );
    playing.await??;
    Ok(())
}

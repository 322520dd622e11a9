//! The thread that writes the file.

use std::io::{Seek, Write};
use std::sync::Arc;

use antiphon_container::{Format, Sample, Track, WriteError, Writer};
use tokio::sync::{mpsc, oneshot};

use super::error::RecorderError;
use super::stats::Counts;

/// Samples that wait for the disk: some seconds of them.
const MAX_SAMPLES: usize = 1_024;

/// Anything that a file can be written into.
pub(super) trait Target: Write + Seek + Send {}

impl<T: Write + Seek + Send> Target for T {}

/// The task's end of the thread.
pub(super) struct Pen {
    samples: mpsc::Sender<Sample>,
    done: oneshot::Receiver<Result<(), WriteError>>,
}

impl Pen {
    /// Begins the file with these tracks and the samples that came until now.
    pub(super) fn start(
        out: Box<dyn Target>,
        format: Format,
        tracks: Vec<Track>,
        first: Vec<Sample>,
        shared: Arc<Counts>,
    ) -> Self {
        let (samples, waiting) = mpsc::channel(MAX_SAMPLES);
        let (tell, done) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            // Nobody may wait for it any more.
            let _ = tell.send(write(out, format, tracks, first, waiting, &shared));
        });
        Self { samples, done }
    }

    /// Hands a sample over, if there is room.
    pub(super) fn write(&self, sample: Sample) -> bool {
        self.samples.try_send(sample).is_ok()
    }

    /// Writes what waits, and ends the file.
    pub(super) async fn finish(self) -> Result<(), RecorderError> {
        drop(self.samples);
        match self.done.await {
            Ok(result) => Ok(result?),
            Err(_) => Err(RecorderError::Nothing),
        }
    }
}

fn write(
    out: Box<dyn Target>,
    format: Format,
    tracks: Vec<Track>,
    first: Vec<Sample>,
    mut samples: mpsc::Receiver<Sample>,
    shared: &Counts,
) -> Result<(), WriteError> {
    let mut writer = Writer::new(out, format, tracks)?;
    let mut first = first.into_iter();
    while let Some(sample) = first.next().or_else(|| samples.blocking_recv()) {
        match writer.write(&sample) {
            Ok(()) => Counts::count(&shared.written),
            // The file goes on without it.
            Err(WriteError::Sample { .. } | WriteError::TooLarge { .. }) => Counts::count(&shared.dropped),
            Err(error) => return Err(error),
        }
    }
    writer.finish().map(|_| ())
}

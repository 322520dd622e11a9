//! A file that is played to a peer: its tracks, each at its own time, on transceivers.

mod clock;
mod error;
mod playback;
mod source;

pub use error::MediaFileError;
pub use playback::{PlayEnd, PlayEvent, Playback};

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use antiphon_container::{Format, Reader, Track};
use antiphon_peer_connection::TransceiverId;
use antiphon_peer_connection::extension::VideoOrientation;

use crate::handle::PeerHandle;
use playback::Outlet;
use source::Source;

/// A file of encoded media: WebM, MP4, Ogg Opus, IVF, a byte stream of H.264 or H.265, or AV1 OBUs. What is in it is sent as it is;
/// nothing is decoded.
///
/// ```no_run
/// # async fn play(peer: antiphon::PeerHandle, video: antiphon::TransceiverId) -> Result<(), Box<dyn std::error::Error>> {
/// let file = antiphon::MediaFile::open("film.webm")?;
/// let picture = file.tracks().iter().position(|track| track.is_video()).ok_or("no picture")?;
/// let mut playback = file.looping(true).play(&peer, &[(picture, video)]).await?;
/// while let Some(event) = playback.next_event().await {
///     println!("{event:?}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct MediaFile {
    source: Box<dyn Source>,
    looping: bool,
}

impl std::fmt::Debug for MediaFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaFile")
            .field("tracks", &self.tracks())
            .field("looping", &self.looping)
            .finish_non_exhaustive()
    }
}

impl MediaFile {
    /// Opens a file and reads as far as its tracks. It reads from the disk meanwhile, a few kilobytes of most files.
    ///
    /// # Errors
    /// [`MediaFileError::Io`] if there is no such file, [`MediaFileError::Read`] if it is none of those formats.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, MediaFileError> {
        Self::new(File::open(path)?)
    }

    /// The same with bytes from elsewhere, for instance a [`Cursor`](std::io::Cursor).
    ///
    /// # Errors
    /// [`MediaFileError::Read`] if it is none of those formats.
    pub fn new(input: impl Read + Seek + Send + 'static) -> Result<Self, MediaFileError> {
        Ok(Self {
            source: Box::new(Reader::new(input)?),
            looping: false,
        })
    }

    /// The file's format.
    pub fn format(&self) -> Format {
        self.source.format()
    }

    /// What is in it, in the file's order.
    pub fn tracks(&self) -> &[Track] {
        self.source.tracks()
    }

    /// Whether it begins again at its end, with timestamps that go on.
    #[must_use]
    pub fn looping(mut self, looping: bool) -> Self {
        self.looping = looping;
        self
    }

    /// Plays tracks (by their place in [`Self::tracks`]) on transceivers of a peer that has agreed to them. It begins when the peer is
    /// connected. All tracks are in step: the file's times are kept, whatever its codecs' clocks. How the file wants its picture turned
    /// is told with each key frame, where both ends have agreed to the extension for it (which
    /// [`MediaCapabilities::forwarding`](crate::MediaCapabilities::forwarding) has).
    ///
    /// # Errors
    /// [`MediaFileError::Codec`] if a transceiver did not agree to the track's codec, [`MediaFileError::NotNegotiated`] if it has not
    /// agreed to anything yet, [`MediaFileError::NoTrack`] for a track that is not there, [`MediaFileError::Peer`] if the peer is
    /// gone. Nothing has been sent then.
    pub async fn play(self, peer: &PeerHandle, to: &[(usize, TransceiverId)]) -> Result<Playback, MediaFileError> {
        let transceivers = peer.transceivers().await?;
        let mut outlets: Vec<Option<Outlet>> = self.tracks().iter().map(|_| None).collect();
        for (index, transceiver) in to {
            let track = self
                .tracks()
                .get(*index)
                .ok_or(MediaFileError::NoTrack { track: *index })?;
            let found = transceivers.iter().find(|other| other.id() == *transceiver);
            let parameters = found.and_then(|found| found.send());
            let parameters = parameters.ok_or(MediaFileError::NotNegotiated { track: *index })?;
            let fits =
                |name: &str, rate: u32| name.eq_ignore_ascii_case(track.codec.name()) && rate == track.clock_rate;
            let codec = parameters
                .codecs
                .iter()
                .find(|codec| fits(&codec.name, codec.clock_rate));
            let Some(codec) = codec else {
                return Err(MediaFileError::Codec {
                    track: *index,
                    codec: track.codec.to_string(),
                    agreed: parameters.codecs.iter().map(|codec| codec.name.clone()).collect(),
                });
            };
            outlets[*index] = Some(Outlet {
                transceiver: *transceiver,
                payload_type: codec.payload_type,
                clock_rate: track.clock_rate,
                orientation: track.is_video().then(|| VideoOrientation {
                    quarter_turns: track.rotation().quarter_turns(),
                    ..VideoOrientation::default()
                }),
            });
        }
        Ok(Playback::start(peer.clone(), self.source, outlets, self.looping))
    }
}

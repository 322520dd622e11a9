//! What a client asks of the video that its session sends, while it goes on: the parameters of our sender, and its track.

use antiphon::{Error, MediaKind, MediaStreamTrack};
use serde::Deserialize;

use super::peer::Peer;
use super::playing::{stream_ids, track_id};

/// How the video of a session is sent from now on. What a message leaves out is as in the beginning.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(in crate::server) struct Sending {
    /// Whether it is sent: `active` of its encodings.
    active: bool,
    /// What it may take at most, in kbit/s from 10 to 1 000 000: `maxBitrate` of its encodings. `None`: what the path carries.
    rate: Option<u32>,
    /// Whether the sender has its track; without, `replaceTrack(null)` was called.
    track: bool,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            active: true,
            rate: None,
            track: true,
        }
    }
}

impl Sending {
    /// The same, if all of it is within its range.
    ///
    /// # Errors
    /// What is not.
    pub(in crate::server) fn checked(self) -> Result<Self, &'static str> {
        match self.rate {
            Some(rate) if !(10..=1_000_000).contains(&rate) => Err("rate is 10 to 1000000 kbit/s"),
            _ => Ok(self),
        }
    }
}

impl Peer {
    /// Changes how the pattern is sent, without an exchange of descriptions. Whether it is sent at all.
    pub(in crate::server) async fn set_sending(&mut self, sending: Sending) -> Result<bool, Error> {
        let transceivers: Vec<_> = self.targets.keys().copied().collect();
        for (place, &id) in transceivers.iter().enumerate() {
            let mut parameters = self.pc.get_parameters(id).await?;
            for encoding in &mut parameters.encodings {
                encoding.active = sending.active;
                encoding.max_bitrate = sending.rate.map(|rate| u64::from(rate) * 1000);
            }
            self.pc.set_parameters(id, parameters).await?;
            let track = sending.track.then(|| MediaStreamTrack {
                kind: MediaKind::Video,
                id: track_id(MediaKind::Video, place),
                stream_ids: stream_ids(&[]),
            });
            self.pc.replace_track(id, track).await?;
        }
        if sending.active && sending.track {
            // Who saw nothing meanwhile can begin at a key frame alone.
            self.key_frame_requests.send_modify(|count| *count += 1);
        }
        Ok(!transceivers.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_in_the_beginning() {
        let read = |text: &str| serde_json::from_str::<Sending>(text).unwrap();
        assert_eq!(read("{}"), Sending::default());
        let narrow = read(r#"{"rate":300}"#);
        assert_eq!((narrow.active, narrow.rate, narrow.track), (true, Some(300), true));
        assert!(narrow.checked().is_ok());
        assert!(!read(r#"{"active":false}"#).active);
        for rate in [0, 9, 1_000_001] {
            let sending = Sending {
                rate: Some(rate),
                ..Sending::default()
            };
            assert!(sending.checked().is_err(), "{rate}");
        }
    }
}

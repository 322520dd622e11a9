//! Containers for what was received: IVF for VP8, Ogg for Opus.

mod ivf;
mod ogg_opus;

pub use ivf::IvfWriter;
pub use ogg_opus::OggOpusWriter;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// V20: containers have fallen over what a peer sent. Here they are only written, and of anything.
        #[test]
        fn v20_mend21_any_frames_and_timestamps_are_written_or_left_out(
            frames in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..300)), 0..50),
            key in any::<bool>(),
        ) {
            let mut ivf = IvfWriter::new(Cursor::new(Vec::new()));
            let mut ogg = OggOpusWriter::new(Cursor::new(Vec::new()), 1, 2).unwrap();
            let start = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0xff, 0xff, 0xff, 0xff];
            if key {
                prop_assert!(ivf.write_frame(u32::MAX, &start).unwrap());
            }
            for (timestamp, data) in frames {
                ivf.write_frame(timestamp, &data).unwrap();
                ogg.write_packet(timestamp, Bytes::from(data)).unwrap();
            }
            let (frames, file) = (ivf.frames(), ivf.finish().unwrap().into_inner());
            prop_assert_eq!(frames == 0, file.is_empty());
            ogg.finish().unwrap();
        }
    }
}

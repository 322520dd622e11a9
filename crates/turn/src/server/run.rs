//! Datagrams that came together and go the same way, where they lie in the buffer that they were received in.

use antiphon_sansio::Bytes;

use crate::channel_data::{CHANNEL_HEADER_LEN, parse_channel_data};

/// The data of one datagram or of several, of equal length but for the last, which may be shorter.
///
/// ```text
/// | cut | data of len bytes | ... | cut | data of len bytes | ... | cut | data of last bytes |
/// |<------- stride bytes -------->|
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    bytes: Bytes,
    stride: usize,
    /// What stands in front of the data of each: a ChannelData header, or nothing.
    cut: usize,
    len: usize,
    last: usize,
    count: usize,
}

impl Run {
    /// One datagram.
    pub(super) fn one(data: Bytes) -> Self {
        let len = data.len();
        Self::of_datagrams(data, len)
    }

    /// Datagrams that are data from their first byte on. `stride` is the length of each but the last.
    pub(super) fn of_datagrams(data: Bytes, stride: usize) -> Self {
        let stride = stride.max(1);
        let count = data.len().div_ceil(stride).max(1);
        let last = data.len() - (count - 1) * stride;
        Self {
            bytes: data,
            stride,
            cut: 0,
            len: if count > 1 { stride } else { last },
            last,
            count,
        }
    }

    /// The ChannelData messages at the beginning of `datagrams` that are for one channel and equally long; and the
    /// channel's number. `None` if the first is no such message.
    pub(super) fn of_channel(datagrams: Bytes, stride: usize) -> Option<(u16, Self)> {
        let mut messages = datagrams.chunks(stride.max(1)).map(parse_channel_data);
        let (number, len) = messages.next()??;
        let (mut last, mut count) = (len, 1);
        while last == len
            && let Some(Some((another, next))) = messages.next()
            && another == number
            && next <= len
        {
            last = next;
            count += 1;
        }
        let run = Self {
            bytes: datagrams,
            stride: stride.max(1),
            cut: CHANNEL_HEADER_LEN,
            len,
            last,
            count,
        };
        Some((number, run))
    }

    /// How many datagrams they are. None at all once [`truncate`](Self::truncate) has left none.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The bytes of data of all of them.
    pub(super) fn data_len(&self) -> usize {
        match self.count {
            0 => 0,
            count => (count - 1) * self.len + self.last,
        }
    }

    /// The bytes of data of the longest.
    pub(super) fn longest(&self) -> usize {
        match self.count {
            0 => 0,
            1 => self.last,
            _ => self.len,
        }
    }

    /// The data of one of them.
    pub(super) fn data(&self, index: usize) -> &[u8] {
        let len = if index + 1 < self.count { self.len } else { self.last };
        &self.bytes[index * self.stride + self.cut..][..len]
    }

    /// Keeps the first `count`.
    pub(super) fn truncate(&mut self, count: usize) {
        if count < self.count {
            self.count = count;
            self.last = self.len;
        }
    }

    /// Leaves out those with more than `most` bytes of data; says how many they were.
    pub(super) fn leave_out_longer(&mut self, most: usize) -> usize {
        if self.longest() <= most {
            return 0;
        }
        let left_out = self.count - usize::from(self.last <= most);
        if left_out < self.count {
            self.bytes = self.bytes.slice((self.count - 1) * self.stride..);
            (self.len, self.count) = (self.last, 1);
        } else {
            self.count = 0;
        }
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel_data::channel_header;

    fn messages(of: &[(u16, usize)], stride: usize) -> Bytes {
        let mut bytes = Vec::new();
        for (n, (number, len)) in of.iter().enumerate() {
            bytes.extend_from_slice(&channel_header(*number, *len));
            bytes.extend(std::iter::repeat_n(n as u8, *len));
            if n + 1 < of.len() {
                bytes.resize((n + 1) * stride, 0xff);
            }
        }
        bytes.into()
    }

    #[test]
    fn datagrams_are_found_where_they_lie() {
        let mut run = Run::of_datagrams(Bytes::from_static(b"aaaabbbbcc"), 4);
        assert_eq!((run.count(), run.data_len(), run.longest()), (3, 10, 4));
        assert_eq!([run.data(0), run.data(1), run.data(2)], [&b"aaaa"[..], b"bbbb", b"cc"]);
        run.truncate(5);
        assert_eq!(run.count(), 3);
        run.truncate(2);
        assert_eq!((run.count(), run.data_len(), run.data(1)), (2, 8, &b"bbbb"[..]));
        run.truncate(0);
        assert_eq!((run.count(), run.data_len(), run.longest()), (0, 0, 0));
        let empty = Run::one(Bytes::new());
        assert_eq!((empty.count(), empty.data_len(), empty.data(0)), (1, 0, &b""[..]));
    }

    #[test]
    fn messages_of_one_channel_stay_together() {
        let one = messages(&[(0x4000, 4), (0x4000, 4), (0x4000, 3)], 8);
        let (number, run) = Run::of_channel(one, 8).unwrap();
        assert_eq!((number, run.count(), run.data_len()), (0x4000, 3, 11));
        assert_eq!([run.data(0), run.data(2)], [&[0; 4][..], &[2; 3]]);
        // Another channel, a longer one, what follows a shorter one, and what is none.
        for (of, count) in [
            (&[(0x4000, 4), (0x4001, 4)][..], 1),
            (&[(0x4000, 3), (0x4000, 4)], 1),
            (&[(0x4000, 4), (0x4000, 2), (0x4000, 2)], 2),
            (&[(0x4000, 4), (0x3000, 4)], 1),
            (&[(0x4000, 0), (0x4000, 0)], 2),
        ] {
            assert_eq!(Run::of_channel(messages(of, 8), 8).unwrap().1.count(), count, "{of:?}");
        }
        assert!(Run::of_channel(messages(&[(0x3000, 4)], 8), 8).is_none());
        assert!(Run::of_channel(Bytes::new(), 0).is_none());
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let mut run = Run::of_datagrams(Bytes::from_static(b"aaaabbbbcc"), 4);
        assert_eq!(run.leave_out_longer(4), 0);
        assert_eq!((run.leave_out_longer(3), run.count(), run.data(0)), (2, 1, &b"cc"[..]));
        assert_eq!((run.leave_out_longer(1), run.count()), (1, 0));
    }
}

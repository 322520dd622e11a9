//! Acknowledgements of DTLS 1.3 (RFC 9147 §7).

use antiphon_sansio::Reader;

/// Record numbers that one acknowledgement lists, and that are remembered to be acknowledged.
pub(crate) const MAX_ACKED: usize = 64;

/// A record, by its epoch and sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordNumber {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
}

/// Length of a record number on the wire.
pub(crate) const NUMBER_LEN: usize = 16;

/// Reads the list; `None` if it is malformed. More than [`MAX_ACKED`] are read as far as that.
pub(crate) fn parse(body: &[u8]) -> Option<Vec<RecordNumber>> {
    let mut reader = Reader::new(body);
    let mut list = Reader::new(reader.vec16().ok()?);
    if !reader.is_empty() || !list.remaining().is_multiple_of(NUMBER_LEN) {
        return None;
    }
    let mut numbers = Vec::new();
    while let (Ok(epoch), Ok(sequence)) = (list.u64(), list.u64()) {
        if numbers.len() < MAX_ACKED {
            numbers.push(RecordNumber { epoch, sequence });
        }
    }
    Some(numbers)
}

/// Writes the list.
pub(crate) fn write(numbers: &[RecordNumber]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + NUMBER_LEN * numbers.len());
    out.extend_from_slice(&((NUMBER_LEN * numbers.len()) as u16).to_be_bytes());
    for number in numbers {
        out.extend_from_slice(&number.epoch.to_be_bytes());
        out.extend_from_slice(&number.sequence.to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips(numbers in prop::collection::vec((any::<u64>(), any::<u64>()), 0..MAX_ACKED)) {
            let numbers: Vec<_> = numbers.into_iter().map(|(epoch, sequence)| RecordNumber { epoch, sequence }).collect();
            prop_assert_eq!(parse(&write(&numbers)), Some(numbers));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let numbers = vec![RecordNumber { epoch: 2, sequence: 1 }; 1000];
        assert_eq!(parse(&write(&numbers)).map(|read| read.len()), Some(MAX_ACKED));
        assert_eq!(parse(&[0, 15, 0]), None);
    }
}

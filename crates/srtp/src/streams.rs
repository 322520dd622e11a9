use crate::error::Error;

/// Sources that one context keeps state for. An entry is never evicted: forgetting a source would forget what was replayed.
pub const MAX_SSRCS: usize = 1024;

/// State by SSRC. Sorted keys beside their states, and the place of the last hit: packets come in runs.
#[derive(Debug)]
pub(crate) struct Streams<S> {
    ssrcs: Vec<u32>,
    states: Vec<S>,
    last: usize,
}

impl<S> Default for Streams<S> {
    fn default() -> Self {
        Self {
            ssrcs: Vec::new(),
            states: Vec::new(),
            last: 0,
        }
    }
}

impl<S> Streams<S> {
    pub(crate) fn len(&self) -> usize {
        self.ssrcs.len()
    }

    /// Where the source is, or where it would go.
    #[inline]
    pub(crate) fn find(&mut self, ssrc: u32) -> Result<usize, usize> {
        if self.ssrcs.get(self.last) == Some(&ssrc) {
            return Ok(self.last);
        }
        let found = self.ssrcs.binary_search(&ssrc);
        if let Ok(at) = found {
            self.last = at;
        }
        found
    }

    #[inline]
    pub(crate) fn at(&mut self, at: usize) -> &mut S {
        &mut self.states[at]
    }

    /// Refuses a new source when there is no place for it.
    #[inline]
    pub(crate) fn room_for(&self, found: Result<usize, usize>) -> Result<(), Error> {
        match found {
            Err(_) if self.ssrcs.len() >= MAX_SSRCS => Err(Error::TooManySsrcs),
            _ => Ok(()),
        }
    }

    /// The state of the source that `found` is about, made if there is none. The caller has asked [`Self::room_for`].
    #[inline]
    pub(crate) fn found_or_new(&mut self, found: Result<usize, usize>, ssrc: u32, new: impl FnOnce() -> S) -> &mut S {
        let at = match found {
            Ok(at) => at,
            Err(at) => {
                self.ssrcs.insert(at, ssrc);
                self.states.insert(at, new());
                self.last = at;
                at
            }
        };
        &mut self.states[at]
    }
}

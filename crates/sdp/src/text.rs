//! A piece of the text that was read, shared instead of copied.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The text of one line: a part of the description that was read, shared by all its lines, or a text of its own.
///
/// Reading a description of three hundred lines costs one allocation for the text instead of three hundred, and a copy of
/// the tree shares it.
#[derive(Clone)]
pub(crate) enum Text {
    Shared { whole: Arc<str>, start: u32, end: u32 },
    Own(Box<str>),
}

impl Text {
    /// The part of `whole` that `part` is: a slice of it.
    pub(crate) fn part(whole: &Arc<str>, part: &str) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        let end = start.wrapping_add(part.len());
        // The length of what is read is bounded far below 4 GiB; anything odd gets a text of its own.
        match (whole.get(start..end), u32::try_from(start), u32::try_from(end)) {
            (Some(same), Ok(start), Ok(end)) if same.len() == part.len() => Self::Shared {
                whole: Arc::clone(whole),
                start,
                end,
            },
            _ => Self::Own(part.into()),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Shared { whole, start, end } => &whole[*start as usize..*end as usize],
            Self::Own(text) => text,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Own(text.into_boxed_str())
    }
}

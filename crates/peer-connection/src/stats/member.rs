//! What the members of a dictionary are turned into, and how a dictionary is declared.

use std::time::Duration;

/// A figure of a report.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StatValue {
    /// Whether something is so.
    Bool(bool),
    /// A number; times in seconds unless webrtc-stats says otherwise.
    Number(f64),
    /// A word, or the id of another entry.
    Text(String),
    /// Numbers by name (`record<DOMString, double>`).
    Record(Vec<(&'static str, f64)>),
}

/// What a member of a dictionary can be turned into. `None`: the member is absent.
pub(super) trait Member {
    fn value(&self) -> Option<StatValue>;
}

impl Member for bool {
    fn value(&self) -> Option<StatValue> {
        Some(StatValue::Bool(*self))
    }
}

impl Member for String {
    fn value(&self) -> Option<StatValue> {
        Some(StatValue::Text(self.clone()))
    }
}

impl Member for &'static str {
    fn value(&self) -> Option<StatValue> {
        Some(StatValue::Text((*self).to_owned()))
    }
}

impl Member for Vec<(&'static str, f64)> {
    fn value(&self) -> Option<StatValue> {
        Some(StatValue::Record(self.clone()))
    }
}

impl Member for Duration {
    fn value(&self) -> Option<StatValue> {
        Some(StatValue::Number(self.as_secs_f64()))
    }
}

macro_rules! number_members {
    ($($kind:ty),*) => {
        $(impl Member for $kind {
            fn value(&self) -> Option<StatValue> {
                Some(StatValue::Number(*self as f64))
            }
        })*
    };
}
number_members!(u8, u16, u32, u64, usize, i64, f64);

impl<T: Member> Member for Option<T> {
    fn value(&self) -> Option<StatValue> {
        self.as_ref().and_then(Member::value)
    }
}

/// Declares a dictionary whose fields know their W3C names.
macro_rules! dictionary {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty = $member:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            /// The entry's id, the same in every report.
            pub id: String,
            $($(#[$field_meta])* pub $field: $kind,)*
        }

        impl $name {
            pub(super) fn members(&self) -> Vec<(&'static str, StatValue)> {
                [$(($member, self.$field.value()),)*]
                    .into_iter()
                    .filter_map(|(name, value)| value.map(|value| (name, value)))
                    .collect()
            }
        }
    };
}

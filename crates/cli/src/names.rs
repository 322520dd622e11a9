//! What rooms and people may be called.

use crate::text::is_unseen;

/// The longest name of a room, in bytes.
pub(crate) const MAX_ROOM: usize = 64;
/// The longest name of a participant, in characters.
pub(crate) const MAX_PERSON: usize = 64;

/// Whether a room may be called so: the name goes into a link as it is.
pub(crate) fn is_room(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=MAX_ROOM).contains(&name.len()) && name.bytes().all(plain)
}

/// The name of a participant without the white space around and between its words; `None` if nobody may be called so.
pub(crate) fn person(name: &str) -> Option<String> {
    // White space is one blank, so that two names which look the same are the same.
    let name: Vec<&str> = name.split_whitespace().take(MAX_PERSON).collect();
    let name = name.join(" ");
    let fits = (1..=MAX_PERSON).contains(&name.chars().count());
    // They would make one name look like another.
    (fits && !name.chars().any(is_unseen)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_have_names_that_fit_into_links() {
        for name in ["a", "Stage-2", "team.weekly_1", &"x".repeat(MAX_ROOM)] {
            assert!(is_room(name), "{name}");
        }
        for name in ["", "a b", "a/b", "a?b", "ä", "a\n", &"x".repeat(MAX_ROOM + 1)] {
            assert!(!is_room(name), "{name:?}");
        }
    }

    #[test]
    fn people_have_names_that_can_be_seen() {
        assert_eq!(person("  Ada   Lovelace ").as_deref(), Some("Ada Lovelace"));
        assert_eq!(person("Łukasz 雪").as_deref(), Some("Łukasz 雪"));
        for name in [
            "",
            "   ",
            "a\u{7}b",
            "Ada\u{200b}",
            "\u{202e}adA",
            &"x".repeat(MAX_PERSON + 1),
            &"x ".repeat(100_000),
        ] {
            assert_eq!(person(name), None, "{:?}", name.chars().take(8).collect::<String>());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_name_is_long(name in ".*") {
            if let Some(name) = person(&name) {
                assert!(name.chars().count() <= MAX_PERSON);
                assert_eq!(person(&name), Some(name));
            }
        }
    }
}

//! Text for the terminal and the log; what strangers wrote in particular.

use std::fmt::{self, Write};

/// Characters of a stranger's text that are shown; a page of it is nobody's name and nobody's reason.
const MOST: usize = 300;

/// A stranger's text as it is shown; made by [`plain`].
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    text: &'a str,
    most: usize,
}

/// The text, safe to show: no control character, so no escape sequence and no line of its own; nothing that changes the direction
/// of what follows; nothing that is there and not seen. These are written as `\u{1b}`. At most 300 characters.
pub fn plain(text: &str) -> Plain<'_> {
    Plain { text, most: MOST }
}

impl Plain<'_> {
    /// With another limit, in characters.
    pub fn at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }
}

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.text.chars();
        for c in chars.by_ref().take(self.most) {
            match c {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if is_unseen(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        match chars.next() {
            Some(_) => f.write_str("..."),
            None => Ok(()),
        }
    }
}

/// Control characters, those that change the direction of text, and those that leave no mark: what Unicode calls Cc, Cf and
/// Default_Ignorable_Code_Point, line and paragraph separators, fillers that look like blanks, and code points that are no characters.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{fffe}' | '\u{ffff}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || matches!(
            c,
            '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
        )
        || u32::from(c) & 0xfffe == 0xfffe
}

/// Prints a line on standard output. Whoever reads it may have seen enough and left: that must not end a server.
pub(crate) fn print_line(line: impl fmt::Display) {
    use std::io::Write as _;

    _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mend18_escape_sequences_of_strangers_are_text() {
        for (text, shown) in [
            ("a b.txt", "a b.txt"),
            ("\x1b[2J\x1b]0;title\x07", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("a\u{200b}b\u{2028}\u{e0041}", "a\\u{200b}b\\u{2028}\\u{e0041}"),
            ("ü 日本 e\u{301} \u{1f600}", "ü 日本 e\u{301} \u{1f600}"),
        ] {
            assert_eq!(plain(text).to_string(), shown);
            // What was made safe stays what it is.
            assert_eq!(plain(shown).to_string(), shown);
        }
        assert_eq!(plain(&"x".repeat(301)).to_string(), format!("{}...", "x".repeat(300)));
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let shown = plain(&c.to_string()).to_string();
            assert!(!shown.chars().any(|c| c.is_control()), "{c:?}");
        }
    }
}

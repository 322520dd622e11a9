//! `antiphon token`: makes a token for a room.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::grant::{Grant, Right};
use super::secret::SecretText;
use crate::text::print_line;

/// The most seconds that `--for` takes: a hundred years.
const MAX_TIME: u64 = 100 * 365 * 24 * 60 * 60;

/// Flags of `token`.
#[derive(Clone, Debug, clap::Args)]
pub struct TokenArgs {
    /// The room that it is for.
    #[arg(long, value_name = "ROOM")]
    pub room: String,
    /// What its bearer is called in the room. Without a name its bearer chooses one.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The secret of the server's --jwt-secret, or @FILE; better in ANTIPHON_JWT_SECRET than on the command line, which others can read.
    #[arg(
        long,
        value_name = "SECRET|@FILE",
        env = "ANTIPHON_JWT_SECRET",
        hide_env_values = true
    )]
    pub secret: SecretText,
    /// How long it lets somebody in, from now on: 90s, 30m, 12h or 7d.
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = time)]
    pub time: Duration,
    /// What it allows.
    #[arg(long, value_name = "RIGHT", value_delimiter = ',', default_values = ["publish", "watch"])]
    pub may: Vec<Right>,
}

/// Why no token is made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The secret is none, or cannot be read.
    #[error("--secret: {0}")]
    Secret(String),
    /// No room can be called so.
    #[error(
        "the name of a room has 1 to {} letters, digits, dashes, dots and underscores",
        crate::names::MAX_ROOM
    )]
    Room,
    /// Nobody can be called so.
    #[error("a name has 1 to {} characters, all of which can be seen", crate::names::MAX_PERSON)]
    Name,
}

/// Prints the token that the flags ask for, and nothing else.
///
/// # Errors
/// Any [`MakeError`].
pub fn run(args: &TokenArgs) -> Result<(), MakeError> {
    print_line(make(args, SystemTime::now())?);
    Ok(())
}

/// The token that the flags ask for.
///
/// # Errors
/// Any [`MakeError`].
pub fn make(args: &TokenArgs, now: SystemTime) -> Result<String, MakeError> {
    if !crate::names::is_room(&args.room) {
        return Err(MakeError::Room);
    }
    let name = args.name.as_deref();
    let name = name
        .map(|name| crate::names::person(name).ok_or(MakeError::Name))
        .transpose()?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let grant = Grant {
        room: args.room.clone(),
        name,
        sub: None,
        exp: (now + args.time).as_secs() as f64,
        nbf: Some(now.as_secs() as f64),
        may: Some(args.may.clone()),
        aud: None,
    };
    let secret = args.secret.read().map_err(MakeError::Secret)?;
    Ok(grant.sign(&secret))
}

/// `12h`: a number and its unit.
fn time(text: &str) -> Result<Duration, String> {
    let factor = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 60 * 60,
        Some('d') => 24 * 60 * 60,
        _ => 0,
    };
    let number = text
        .get(..text.len().saturating_sub(1))
        .and_then(|number| number.parse::<u64>().ok());
    let seconds = number.and_then(|number| number.checked_mul(factor));
    seconds
        .filter(|seconds| (1..=MAX_TIME).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "a number with its unit, such as 90s, 30m, 12h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::secret::Secret;
    use super::*;
    use crate::args::{Args, Command};

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn parsed(flags: &[&str]) -> Result<TokenArgs, clap::Error> {
        let all = ["antiphon", "token", "--secret", SECRET].iter().chain(flags);
        match Args::try_parse_from(all)?.command {
            Some(Command::Token(token)) => Ok(*token),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_is_what_its_flags_say() {
        let args = parsed(&[
            "--room",
            "stage",
            "--name",
            " Ada  L ",
            "--for",
            "2h",
            "--may",
            "watch,record",
        ])
        .unwrap();
        let now = SystemTime::now();
        let token = make(&args, now).unwrap();
        let secret = Secret::new(SECRET.as_bytes()).unwrap();
        let grant = Grant::check(&token, &secret, "stage", now + Duration::from_secs(7000)).unwrap();
        assert_eq!(grant.called(), Some("Ada L"));
        assert!(grant.rights().record && grant.rights().watch && !grant.rights().publish);
        assert!(Grant::check(&token, &secret, "stage", now + Duration::from_secs(7300)).is_err());
        assert!(!format!("{args:?}").contains("0123"));
    }

    #[test]
    fn what_is_no_token_is_not_made() {
        for wrong in [
            "",
            "h",
            "0h",
            "-1h",
            "1",
            "1w",
            "1.5h",
            "99999999999999999999s",
            "40000d",
            "ä",
        ] {
            assert!(parsed(&["--room", "r", "--for", wrong]).is_err(), "{wrong}");
        }
        assert!(parsed(&["--room", "r", "--may", "fly"]).is_err());
        assert!(parsed(&[]).is_err(), "it needs a room");
        let made = |flags: &[&str]| make(&parsed(flags).unwrap(), SystemTime::now());
        assert_eq!(made(&["--room", "no room"]), Err(MakeError::Room));
        assert_eq!(made(&["--room", "r", "--name", "\u{202e}"]), Err(MakeError::Name));
        let mut short = parsed(&["--room", "r"]).unwrap();
        short.secret = "a-short-secret".to_owned().into();
        let error = make(&short, SystemTime::now()).unwrap_err().to_string();
        assert!(
            error.contains("at least 32 bytes") && !error.contains("a-short"),
            "{error}"
        );
    }
}

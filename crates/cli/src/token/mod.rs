//! Tokens for rooms: JSON Web Tokens (RFC 7519) that say who may come into which room, and what for. `antiphon token` makes them, and so
//! does any other program that knows the secret; `antiphon serve --jwt-secret` checks them.

mod args;
mod grant;
mod jwt;
mod secret;

pub use args::{MakeError, TokenArgs, make, run};
pub use grant::{Grant, Right, Rights};
pub use jwt::{LEEWAY, MAX_TOKEN, TokenError};
pub use secret::{MIN_SECRET, Secret, SecretText, text_or_file};

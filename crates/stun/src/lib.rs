#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod attribute;
mod builder;
mod error;
mod header;
mod integrity;
mod message;
#[cfg(feature = "opaque-string")]
mod opaque_string;
mod transaction;

pub use attribute::{AddressFamily, Attribute, AttributeType, ErrorCode};
pub use builder::MessageBuilder;
#[cfg(feature = "opaque-string")]
pub use error::OpaqueStringError;
pub use error::{ParseError, WriteError};
pub use header::{Class, HEADER_LEN, MAGIC_COOKIE, Method, TransactionId, is_stun};
pub use integrity::Key;
pub use message::{Attributes, Check, Message};
#[cfg(feature = "opaque-string")]
pub use opaque_string::opaque_string;
pub use transaction::{Retransmission, Step, Transaction};

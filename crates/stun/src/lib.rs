#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod attribute;
mod builder;
mod error;
mod integrity;
mod message;
mod transaction;

pub use attribute::{AddressFamily, Attribute, AttributeType, ErrorCode};
pub use builder::MessageBuilder;
pub use error::{ParseError, WriteError};
pub use integrity::Key;
pub use message::{Attributes, Check, Class, HEADER_LEN, MAGIC_COOKIE, Message, Method, TransactionId, is_stun};
pub use transaction::{Retransmission, Step, Transaction};

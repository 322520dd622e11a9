#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod capture;
pub mod fuzz;
pub mod keylog;
pub mod media;
pub mod replay;
pub mod session;
pub mod table;

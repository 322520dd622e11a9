#![doc = include_str!("../README.md")]
//!
//! This library is what several benches share: how peers meet, with sockets and without, and what work costs.
#![forbid(unsafe_code)]

pub mod cost;
pub mod fan;
pub mod meeting;
pub mod pair;

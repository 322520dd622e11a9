//! Figures, and the file that keeps them.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

/// What was measured, before anybody knows where it belongs.
pub(crate) struct Measured {
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

impl Measured {
    pub(crate) fn new(what: &'static str, value: f64, unit: &'static str) -> Self {
        Self { what, value, unit }
    }
}

/// One line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The row of the table.
    pub(crate) row: String,
    /// In which manner; empty where there is one only.
    pub(crate) variant: String,
    /// With how many packets a second, pairs or receivers.
    pub(crate) at: u32,
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// The bare seal of the same process, in nanoseconds.
    pub(crate) seal_ns: f64,
}

impl Figure {
    /// What a machine would have shown whose bare seal takes `reference` nanoseconds. Memory is the same everywhere.
    pub(crate) fn scaled(&self, reference: f64) -> f64 {
        let slower = self.seal_ns / reference;
        match self.unit.as_str() {
            "ns" | "us" | "ms" => self.value / slower,
            "packets" | "MB" => self.value * slower,
            _ => self.value,
        }
    }
}

pub(crate) fn write(to: impl Write, figures: impl Iterator<Item = Figure>) -> Result<(), Box<dyn std::error::Error>> {
    let mut writer = csv::Writer::from_writer(to);
    for figure in figures {
        writer.serialize(figure)?;
    }
    Ok(writer.flush()?)
}

pub(crate) fn read(from: impl Read) -> Result<Vec<Figure>, Box<dyn std::error::Error>> {
    let mut reader = csv::Reader::from_reader(from);
    Ok(reader.deserialize().collect::<Result<_, _>>()?)
}

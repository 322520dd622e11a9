//! What a person asks of the tests.

/// What of a part is to be run, and how much of it.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Loads in full size: 10 000 idle pairs for a minute, and more of the kind.
    #[arg(long)]
    pub(crate) whole: bool,
    /// Of the parts `live` and `crowd`, run only what has this in its name, whatever the case (repeatable).
    #[arg(long = "test", value_name = "NAME", requires = "only")]
    tests: Vec<String>,
}

impl Asked {
    /// Whether a test of this name is to be run.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.wants_all() || self.tests.iter().any(|word| name.contains(&word.to_lowercase()))
    }

    /// Whether all tests are to be run.
    pub(crate) fn wants_all(&self) -> bool {
        self.tests.is_empty()
    }
}

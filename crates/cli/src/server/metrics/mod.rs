//! Figures as Prometheus reads them: the text, and what the system says of this process. It is given all else that it writes, and uses no
//! other room of the server.

mod exposition;
mod process;

pub(super) use exposition::{Kind, Page};
pub(super) use process::write as write_process;

//! SIGINT (Ctrl-C) and SIGTERM: the first asks the program to end in an orderly way, the second ends it at once.

use std::io;

/// Both signals. From its making on they no longer end the program by themselves.
#[derive(Debug)]
pub(crate) struct Stop {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    /// Listens from now on.
    ///
    /// # Errors
    /// If the system refuses.
    #[cfg(unix)]
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Listens from now on.
    ///
    /// # Errors
    /// None here.
    #[cfg(not(unix))]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Completes with the first signal, and says `farewell` to the person; the second one ends the program.
    pub(crate) async fn asked(mut self, farewell: &str) {
        self.signal().await;
        eprintln!("{farewell}; again to stop at once");
        tokio::spawn(async move {
            let code = self.signal().await;
            std::process::exit(code);
        });
    }

    /// The next signal, and the exit status of a program that it ends: 128 and its number.
    async fn signal(&mut self) -> i32 {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
        #[cfg(not(unix))]
        {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            130
        }
    }
}

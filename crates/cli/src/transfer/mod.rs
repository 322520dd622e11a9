//! `antiphon send` and `antiphon recv`: files and folders from peer to peer, over one data channel.
//!
//! `meet` brings the two together (a line to paste, or a code that a server knows), `protocol` is what they say,
//! `outbox` sends, `inbox` receives. `names` says what a stranger's files may be called here, `folder` keeps both ends within the
//! folder that their user chose, `question` shows what is offered.

mod card;
mod error;
mod folder;
mod inbox;
mod meet;
mod names;
mod outbox;
mod progress;
mod protocol;
mod question;
mod rules;

pub use card::{Card, CardError};
pub use error::{MeetError, TransferError};
pub use inbox::{Inbox, Received, ReceivedFile};
pub use meet::{Link, Meeting, Pasting, Role, Signalled};
pub use names::PathError;
pub use outbox::{Outbox, Sent, SentFile};
pub use protocol::Entry;
pub(crate) use rules::RULES;
pub use rules::{MAX_FILES, MAX_LIST};

use std::time::Duration;

use antiphon::{Api, RtcConfiguration, RtcIceServer};
use tokio::time::Instant;

use crate::args::{MeetArgs, RecvArgs, SendArgs};
use crate::code::new_code;
use crate::stop::Stop;
use crate::text::{plain, print_line};

/// How long the two may fail to meet again before a broken transfer is given up.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two attempts to meet.
const PAUSE: Duration = Duration::from_secs(1);

/// Names of what was left out that are shown.
const SHOWN_SKIPPED: usize = 20;

/// Makes the peer connections of one transfer.
fn connections(args: &MeetArgs) -> Result<(Api, RtcConfiguration), TransferError> {
    let builder = args.reach.builder(Api::builder().loopback(args.loopback));
    let api = builder.map_err(TransferError::file("--ice-ca"))?.build()?;
    let mut configuration = RtcConfiguration {
        ice_servers: args.ice_servers.iter().map(RtcIceServer::stun).collect(),
        ..RtcConfiguration::default()
    };
    args.reach.configure(&mut configuration);
    Ok((api, configuration))
}

/// Runs `antiphon send` to its end.
///
/// # Errors
/// Any [`TransferError`].
pub async fn send(args: SendArgs) -> Result<(), TransferError> {
    let mut stop = std::pin::pin!(interrupted()?);
    let mut outbox = Outbox::gather(&args.paths)?;
    for skipped in outbox.skipped().iter().take(SHOWN_SKIPPED) {
        eprintln!("left out: {}", plain(skipped));
    }
    if let more @ 1.. = outbox.skipped().len().saturating_sub(SHOWN_SKIPPED) {
        eprintln!("left out: {more} more");
    }
    eprintln!("{} files, {}", outbox.files(), indicatif::HumanBytes(outbox.bytes()));
    let (api, configuration) = connections(&args.meet)?;
    let mut meeting = match &args.meet.signal {
        Some(url) => {
            let code = args.meet.code.clone().unwrap_or_else(new_code);
            eprintln!("On the other machine:\n\n  antiphon recv --signal {url} --code {code}\n");
            Meeting::Signalled(Signalled::new(url, &code, Role::Sender)?)
        }
        None => Meeting::Pasting(Pasting::terminal(Role::Sender)),
    };
    let mut lost = None;
    loop {
        let attempt = async {
            let mut link = tokio::select! {
                link = meeting.link(&api, configuration.clone()) => link?,
                () = &mut stop => return Err(TransferError::Interrupted),
            };
            let sent = tokio::select! {
                sent = outbox.run(&mut link) => sent,
                () = &mut stop => Err(TransferError::Interrupted),
            };
            link.close().await;
            sent
        };
        match attempt.await {
            Ok(sent) => {
                for file in &sent.files {
                    print_line(format_args!("{}  {}", file.sha256, plain(&file.path)));
                }
                return match sent.failed {
                    0 => Ok(()),
                    failed => Err(TransferError::Incomplete {
                        failed,
                        total: outbox.files(),
                    }),
                };
            }
            Err(error) => go_on(error, &mut lost).await?,
        }
    }
}

/// Runs `antiphon recv` to its end.
///
/// # Errors
/// Any [`TransferError`].
pub async fn receive(args: RecvArgs) -> Result<(), TransferError> {
    let mut stop = std::pin::pin!(interrupted()?);
    let mut inbox =
        Inbox::new(&args.into, args.overwrite, args.yes).map_err(TransferError::file(args.into.display()))?;
    let (api, configuration) = connections(&args.meet)?;
    let mut meeting = match (&args.meet.signal, &args.meet.code) {
        (Some(url), Some(code)) => Meeting::Signalled(Signalled::new(url, code, Role::Receiver)?),
        _ => Meeting::Pasting(Pasting::terminal(Role::Receiver)),
    };
    let mut lost = None;
    loop {
        let attempt = async {
            let mut link = tokio::select! {
                link = meeting.link(&api, configuration.clone()) => link?,
                () = &mut stop => return Err(TransferError::Interrupted),
            };
            let received = tokio::select! {
                received = inbox.run(&mut link) => received,
                () = &mut stop => Err(TransferError::Interrupted),
            };
            link.close().await;
            received
        };
        match attempt.await {
            Ok(mut received) => {
                inbox.tidy(&mut received);
                for file in &received.files {
                    print_line(format_args!("{}  {}", file.sha256, file.path));
                }
                return match received.failed {
                    0 => Ok(()),
                    failed => Err(TransferError::Incomplete {
                        failed,
                        total: failed + received.files.len(),
                    }),
                };
            }
            Err(error) => go_on(error, &mut lost).await?,
        }
    }
}

/// Completes when the person interrupts the program: the other end then hears that we leave, and what has arrived is kept.
fn interrupted() -> Result<impl Future<Output = ()>, TransferError> {
    let stop = Stop::new().map_err(TransferError::file("signals"))?;
    Ok(async move { stop.asked("stopping: telling the other end").await })
}

/// Whether it is worth meeting again; waits a moment if so.
async fn go_on(error: TransferError, lost: &mut Option<Instant>) -> Result<(), TransferError> {
    let again = match &error {
        TransferError::Broken => {
            *lost = None;
            true
        }
        TransferError::Meet(MeetError::Unreachable(_) | MeetError::NotConnected) => true,
        _ => false,
    };
    let since = *lost.get_or_insert_with(Instant::now);
    if !again || since.elapsed() > PATIENCE {
        return Err(error);
    }
    eprintln!("{error}; trying again, what has arrived is kept");
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

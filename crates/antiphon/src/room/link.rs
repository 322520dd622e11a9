//! The way from a handle to the task that owns the state behind it.

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

/// Calls that may wait for a task; callers wait beyond that.
const MAX_CALLS: usize = 256;

/// What a handle asks of the state `S`. Calls run one after the other.
pub(super) type Call<S> = Box<dyn for<'a> FnOnce(&'a mut S) -> BoxFuture<'a, ()> + Send>;

/// Calls on their way to the task that owns the state `S`.
pub(super) struct Link<S> {
    calls: mpsc::Sender<Call<S>>,
}

impl<S> std::fmt::Debug for Link<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl<S> Clone for Link<S> {
    fn clone(&self) -> Self {
        Self {
            calls: self.calls.clone(),
        }
    }
}

/// A link, and the end at which its calls arrive.
pub(super) fn link<S>() -> (Link<S>, mpsc::Receiver<Call<S>>) {
    let (calls, called) = mpsc::channel(MAX_CALLS);
    (Link { calls }, called)
}

impl<S: Send + 'static> Link<S> {
    /// Runs `visit` on the state, and gives what it gives; `None` if the task is gone.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        visit: impl for<'a> FnOnce(&'a mut S) -> BoxFuture<'a, T> + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let call: Call<S> = Box::new(move |state| {
            Box::pin(async move {
                // Who asked may have gone away.
                _ = answer.send(visit(state).await);
            })
        });
        self.calls.send(call).await.ok()?;
        answered.await.ok()
    }
}

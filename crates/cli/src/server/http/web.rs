//! Accepts TCP connections and answers their requests, within what strangers may take: places, descriptors and time.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use axum::response::IntoResponse;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::server::quota::{Complaint, Gate, Pass, Patience};

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// Who is turned away at a time with a word of explanation; more are just closed.
const MAX_FAREWELLS: usize = 16;
/// How long such a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Others may close meanwhile, when nothing can be accepted.
const PAUSE: Duration = Duration::from_millis(20);

/// In plain HTTP: what cannot be accepted has no connection to answer on otherwise.
const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 5\r\n\
    connection: close\r\ncontent-length: 47\r\n\r\ntoo many connections: please try again shortly\n";

/// The web server.
pub(in crate::server) struct Web {
    pub(in crate::server) listener: TcpListener,
    pub(in crate::server) tls: Option<Arc<ServerConfig>>,
    pub(in crate::server) gate: Arc<Gate>,
    pub(in crate::server) patience: Patience,
    pub(in crate::server) stop: watch::Receiver<bool>,
}

impl Web {
    /// Serves until it is told to stop; then ends what is under way, within its patience.
    pub(in crate::server) async fn serve(self, router: Router) {
        let Self {
            listener,
            tls,
            gate,
            patience,
            mut stop,
        } = self;
        let talk = Talk {
            router,
            patience,
            stop: stop.clone(),
        };
        let tls = tls.map(TlsAcceptor::from);
        let mut connections = JoinSet::new();
        let farewells = Arc::new(Semaphore::new(MAX_FAREWELLS));
        let mut spare = Spare::new();
        let (crowded, exhausted) = (Complaint::default(), Complaint::default());
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_exhausted(&error) => {
                    if let Some(times) = exhausted.say() {
                        tracing::warn!(%error, times, "no descriptor for a connection: ulimit -n is too low, or strangers hold too many");
                    }
                    if gate.make_room() {
                        sleep(PAUSE).await;
                    } else {
                        spare.turn_away(&listener, tls.is_none()).await;
                    }
                    continue;
                }
                Err(error) => {
                    // The client has left before it was let in, for instance.
                    tracing::debug!(%error, "accept");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            match gate.enter(from.ip()) {
                Ok(pass) => _ = connections.spawn(welcome(talk.clone(), tls.clone(), stream, from, pass)),
                Err(full) => {
                    if let Some(times) = crowded.say() {
                        tracing::warn!(%from, times, "a connection was turned away: {full}");
                    }
                    // In TLS nothing can be said before the handshake.
                    let slot = farewells.clone().try_acquire_owned();
                    if let (Ok(slot), true) = (slot, tls.is_none()) {
                        connections.spawn(async move {
                            let _slot = slot;
                            turn_away(stream).await;
                        });
                    }
                }
            }
        }
        drop(listener);
        // Connections without a request end at once by themselves.
        _ = timeout(patience.stop, async {
            while connections.join_next().await.is_some() {}
        })
        .await;
        connections.shutdown().await;
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Talk {
    router: Router,
    patience: Patience,
    stop: watch::Receiver<bool>,
}

async fn welcome(mut talk: Talk, tls: Option<TlsAcceptor>, stream: TcpStream, from: SocketAddr, pass: Arc<Pass>) {
    // Answers are small; an error means that the client has left.
    _ = stream.set_nodelay(true);
    // Whoever says nothing costs no buffers either.
    tokio::select! {
        first = timeout(talk.patience.header, stream.readable()) => if !matches!(first, Ok(Ok(()))) { return },
        () = pass.displaced() => return,
        _ = talk.stop.wait_for(|stop| *stop) => return,
    }
    let Some(tls) = tls else {
        return Box::pin(converse(talk, stream, from, pass)).await;
    };
    let handshake = timeout(talk.patience.handshake, Box::pin(tls.accept(stream)));
    let stream = tokio::select! {
        handshake = handshake => match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%from, %error, "TLS handshake"),
            Err(_) => return tracing::debug!(%from, "TLS handshake takes too long"),
        },
        () = pass.displaced() => return,
        _ = talk.stop.wait_for(|stop| *stop) => return,
    };
    Box::pin(converse(talk, stream, from, pass)).await;
}

/// Answers requests until one of the ends has enough.
async fn converse<S>(talk: Talk, stream: S, from: SocketAddr, pass: Arc<Pass>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Talk {
        router,
        patience,
        mut stop,
    } = talk;
    let stream = Held {
        stream,
        _pass: pass.clone(),
    };
    let service = {
        let pass = pass.clone();
        service_fn(move |request| answer(router.clone(), patience.request, from, pass.clone(), request))
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(patience.header)
        .max_buf_size(MAX_HEAD);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let mut end = pin!(sleep_until(Instant::now() + patience.connection));
    let mut ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%from, %error, "connection");
                }
                return;
            }
            () = pass.displaced() => return tracing::debug!(%from, "a connection made room for another one"),
            _ = stop.wait_for(|stop| *stop), if !ending => {
                // Half a request is none.
                if pass.is_waiting() {
                    return;
                }
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut end => {
                if ending || pass.is_waiting() {
                    return;
                }
                ending = true;
                connection.as_mut().graceful_shutdown();
                end.as_mut().reset(Instant::now() + patience.request);
            }
        }
    }
}

async fn answer(
    router: Router,
    limit: Duration,
    from: SocketAddr,
    pass: Arc<Pass>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(|body| Arriving::new(body, pass.clone()));
    request.extensions_mut().insert(ConnectInfo(from));
    let response = match timeout(limit, router.oneshot(request)).await {
        Ok(Ok(response)) => response,
        Err(_) => {
            let mut late = (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response();
            late.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            late
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        pass.upgraded();
    } else {
        pass.waiting();
    }
    Ok(response)
}

/// A request's body on its way in. Until it is there, nobody is kept waiting by the connection's end.
struct Arriving {
    body: Incoming,
    pass: Arc<Pass>,
}

impl Arriving {
    fn new(body: Incoming, pass: Arc<Pass>) -> Self {
        if body.is_end_stream() {
            pass.busy();
        }
        Self { body, pass }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.pass.busy();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream and its place, which a WebSocket goes on holding.
struct Held<S> {
    stream: S,
    _pass: Arc<Pass>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A descriptor kept for the moment when there is none: given up, it lets one connection in, to be told why it cannot stay.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    async fn turn_away(&mut self, listener: &TcpListener, plain: bool) {
        // Without it (another thread was faster, or there is no such file) there is only waiting.
        match self.0.take() {
            None => sleep(PAUSE).await,
            Some(file) => {
                drop(file);
                if let Ok(Ok((stream, _))) = timeout(PAUSE, listener.accept()).await
                    && plain
                {
                    // Here, not beside: the descriptor is needed for the next one.
                    _ = timeout(PAUSE, turn_away(stream)).await;
                }
            }
        }
        *self = Self::new();
    }
}

/// Says why, and reads what comes until the client closes: what is unread when we close would cost it the answer.
async fn turn_away(mut stream: TcpStream) {
    _ = timeout(FAREWELL, async {
        stream.write_all(TURNED_AWAY).await?;
        stream.shutdown().await?;
        let mut unread = [0; 1024];
        while stream.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

/// EMFILE or ENFILE: the process, or the system, has no more descriptors.
fn is_exhausted(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    cfg!(unix) && matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

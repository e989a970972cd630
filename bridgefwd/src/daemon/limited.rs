//! A TCP listener that others cannot use up: so many connections at a time, and none that says nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// How many connections there are at one time; the next ones wait.
const CONNECTIONS: usize = 32;
/// How long a client may say nothing, and may take nothing of what it is sent. Longer than Prometheus
/// usually waits between two questions is not needed: it connects again.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long to wait where the system has no descriptor left.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// The listener.
pub struct Limited {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl Limited {
    /// Takes no connection yet.
    #[must_use]
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(CONNECTIONS)) }
    }
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let free = loop {
            // Nobody closes it.
            if let Ok(free) = Arc::clone(&self.free).acquire_owned().await {
                break free;
            }
        };
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let silence = Box::pin(sleep(PATIENCE));
                    return (Connection { stream, silence, _free: free }, address);
                }
                Err(error) => {
                    tracing::debug!("a connection could not be taken: {error}");
                    sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that breaks off where nothing happens on it.
pub struct Connection {
    stream: TcpStream,
    silence: Pin<Box<Sleep>>,
    _free: OwnedSemaphorePermit,
}

impl Connection {
    /// What came of waiting for the client: its patience begins anew where something did.
    fn heard<T>(
        &mut self,
        came: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if came.is_ready() {
            self.silence.as_mut().reset(Instant::now() + PATIENCE);
            return came;
        }
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let came = pin!(&mut self.stream).poll_read(context, buffer);
        self.heard(came, context)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let came = pin!(&mut self.stream).poll_write(context, bytes);
        self.heard(came, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn limited() -> (Limited, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (Limited::new(listener), address)
    }

    #[tokio::test]
    async fn who_says_nothing_is_hung_up_on() {
        let (mut limited, address) = limited().await;
        let _silent = TcpStream::connect(address).await.unwrap();
        let (mut connection, _) = limited.accept().await;
        // As if that time were over.
        connection.silence.as_mut().reset(Instant::now());
        let broken = connection.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn the_next_one_waits_until_one_has_gone() {
        let (mut limited, address) = limited().await;
        let mut clients = Vec::new();
        let mut taken = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(TcpStream::connect(address).await.unwrap());
            taken.push(limited.accept().await);
        }
        clients.push(TcpStream::connect(address).await.unwrap());
        assert!(futures_util::poll!(pin!(limited.accept())).is_pending());
        taken.pop();
        limited.accept().await;
    }
}

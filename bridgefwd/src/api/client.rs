//! The other end of the control socket: what the commands ask the daemon with.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::http::response::Parts;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::bridges::Bridge;
use super::config::{ConfigPlan, ConfigText, RunningConfig};
use super::trace::TraceQuery;
use super::types::{
    Cleared, Flow, FlowFilter, Leaving, NEXT_FLOWS, Pair, PairChange, Problem, ProblemKind, Stats,
    Status,
};
use super::whois::{Whois, WhoisQuery};
use crate::failure::{Failure, Result};
use crate::metrics::Format;

/// How long one question may take, from connecting to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What moves the bytes of a connection.
type Connection = http1::Connection<TokioIo<UnixStream>, Full<Bytes>>;

const JSON: &str = "application/json";

/// How long a configuration may take to be planned or applied.
const CONFIG_TIMEOUT: Duration = Duration::from_secs(60);

/// What stands for itself in a path or query: RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A client of the daemon that listens on one socket.
///
/// Every method connects anew, fails with [`Failure::NoDaemon`] where nobody listens, and takes at
/// most five seconds, or a minute where it is about a configuration.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

impl Client {
    /// Of the daemon on `socket`. Does not connect yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), timeout: TIMEOUT }
    }

    /// How the daemon is.
    pub async fn status(&self) -> Result<Status> {
        self.get("/v1/status").await
    }

    /// The managed ends.
    pub async fn bridges(&self) -> Result<Vec<Bridge>> {
        self.get("/v1/bridges").await
    }

    /// The listed pairs.
    pub async fn pairs(&self) -> Result<Vec<Pair>> {
        self.get("/v1/pairs").await
    }

    /// The counters.
    pub async fn stats(&self) -> Result<Stats> {
        self.get("/v1/stats").await
    }

    /// All metrics, as text.
    pub async fn metrics(&self, format: Format) -> Result<String> {
        let accept = format.media_type();
        let (_, body) = self.ask(Method::GET, "/metrics", accept, Bytes::new()).await?;
        String::from_utf8(body.to_vec())
            .map_err(|error| Failure::failed(format!("the daemon's metrics are no text: {error}")))
    }

    /// Calls `each` with every line that the daemon tells of what happens, until that says that it has
    /// enough, or the daemon ends.
    ///
    /// # Errors
    ///
    /// As everything else here; not where the daemon ends.
    pub async fn events(&self, each: impl FnMut(&str) -> Result<ControlFlow<()>>) -> Result<()> {
        self.lines("/v1/events", each).await
    }

    /// The same with what the program says of the packets of two addresses.
    ///
    /// # Errors
    ///
    /// As everything else here; somebody traces others; not where the daemon ends.
    pub async fn trace(
        &self,
        query: TraceQuery,
        each: impl FnMut(&str) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let (a, b) = (Some(query.a.to_string()), Some(query.b.to_string()));
        self.lines(&path_with("/v1/trace", [("a", &a), ("b", &b)]), each).await
    }

    /// Calls `each` with every line of an answer that goes on.
    async fn lines(
        &self,
        path: &str,
        mut each: impl FnMut(&str) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let (mut sender, connection) = self.connect().await?;
        // It only moves while it is polled.
        let connection = tokio::spawn(connection);
        let request = self.question(Method::GET, path, JSON, Bytes::new())?;
        let broken = |error| self.broken(&error);
        let mut response = sender.send_request(request).await.map_err(broken)?;
        if !response.status().is_success() {
            let body = response.into_body().collect().await.map_err(broken)?.to_bytes();
            return Err(Failure::failed(String::from_utf8_lossy(&body).into_owned()));
        }
        let mut rest = Vec::new();
        while let Some(Ok(frame)) = response.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if each(&String::from_utf8_lossy(&line))?.is_break() {
                    connection.abort();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Who was behind a translated address.
    pub async fn whois(&self, query: &WhoisQuery) -> Result<Whois> {
        let address = Some(query.address.to_string());
        let port = query.port.map(|port| port.to_string());
        let path = path_with(
            "/v1/whois",
            [("address", &address), ("port", &port), ("proto", &query.proto), ("at", &query.at)],
        );
        self.get(&path).await
    }

    /// The live flows that `filter` matches, as many as one answer has.
    pub async fn flows(&self, filter: &FlowFilter) -> Result<Vec<Flow>> {
        Ok(self.page(filter).await?.0)
    }

    /// The same, and where there may be more, what to give as [`FlowFilter::after`] for them.
    pub async fn page(&self, filter: &FlowFilter) -> Result<(Vec<Flow>, Option<u32>)> {
        let path = flows_path(filter);
        let (head, body) = self.ask(Method::GET, &path, JSON, Bytes::new()).await?;
        let next = head.headers.get(NEXT_FLOWS).and_then(|next| next.to_str().ok()?.parse().ok());
        Ok((self.read(&path, &body)?, next))
    }

    /// Lists a pair, or changes it; the answer is what holds from the next packet on.
    pub async fn put_pair(&self, from: &str, to: &str, change: &PairChange) -> Result<Pair> {
        let body = serde_json::to_vec(change).map_err(|error| {
            Failure::failed(format!("the pair {from} -> {to} cannot be sent: {error}"))
        })?;
        self.request(Method::PUT, &pair_path(from, to), body.into()).await
    }

    /// Takes a pair off the list. False where it was not listed.
    pub async fn delete_pair(&self, from: &str, to: &str, drain: bool) -> Result<bool> {
        let path = format!("{}?drain={drain}", pair_path(from, to));
        let answer: Cleared = self.request(Method::DELETE, &path, Bytes::new()).await?;
        Ok(answer.cleared)
    }

    /// What runs, as a configuration file.
    pub async fn config(&self) -> Result<RunningConfig> {
        self.get("/v1/config").await
    }

    /// What applying a file would change; without one, the daemon's own.
    pub async fn plan(&self, file: Option<&ConfigText>) -> Result<ConfigPlan> {
        self.post_config("/v1/config/plan", file).await
    }

    /// Applies a file, or the daemon's own, and tells what has changed.
    pub async fn apply(&self, file: Option<&ConfigText>) -> Result<ConfigPlan> {
        self.post_config("/v1/config/apply", file).await
    }

    async fn post_config(&self, path: &str, file: Option<&ConfigText>) -> Result<ConfigPlan> {
        let body = match file {
            Some(file) => serde_json::to_vec(file).map_err(|error| {
                Failure::failed(format!("the configuration cannot be sent: {error}"))
            })?,
            None => Vec::new(),
        };
        // Thousands of pairs take a while.
        let patient = Self { timeout: CONFIG_TIMEOUT, ..self.clone() };
        patient.request(Method::POST, path, body.into()).await
    }

    /// Has the daemon detach, remove its pins and go. Its process id; it is still alive when this
    /// returns.
    pub async fn down(&self) -> Result<u32> {
        let answer: Leaving = self.request(Method::POST, "/v1/down", Bytes::new()).await?;
        Ok(answer.pid)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    /// One question and its answer.
    async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T> {
        let (_, body) = self.ask(method, path, JSON, body).await?;
        self.read(path, &body)
    }

    /// One question, and an answer that is a success, of one of the media types in `accept`.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Bytes,
    ) -> Result<(Parts, Bytes)> {
        let exchange = self.exchange(method, path, accept, body);
        let (head, body) = tokio::time::timeout(self.timeout, exchange).await.map_err(|_| {
            Failure::failed(format!(
                "the daemon on {} has not answered within {} s: is it stopped or overloaded? \
                 Look at its log, or end it and run it again (traffic goes on meanwhile)",
                self.socket.display(),
                self.timeout.as_secs_f32()
            ))
        })??;
        if !head.status.is_success() {
            return Err(self.refusal(head.status, &body));
        }
        Ok((head, body))
    }

    fn read<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T> {
        serde_json::from_slice(body).map_err(|error| {
            Failure::failed(format!(
                "the daemon on {} answered {path} with something else than this version \
                 understands ({error}): are the daemon and this command of the same version?",
                self.socket.display()
            ))
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Bytes,
    ) -> Result<(Parts, Bytes)> {
        let broken = |error| self.broken(&error);
        let (mut sender, connection) = self.connect().await?;
        let request = self.question(method, path, accept, body)?;
        let answer = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>((head, body.collect().await?.to_bytes()))
        };
        // The connection only moves while it is polled. When it ends first, the answer's own
        // channel tells how, so that future alone decides.
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer.map_err(broken),
            _ = &mut connection => answer.await.map_err(broken),
        }
    }

    async fn connect(&self) -> Result<(http1::SendRequest<Full<Bytes>>, Connection)> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))
    }

    fn question(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "bridgefwd")
            .header(CONTENT_TYPE, JSON)
            .header(ACCEPT, accept)
            .body(Full::new(body))
            .map_err(|error| Failure::usage(format!("{path} is no valid request: {error}")))
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        Failure::failed(format!(
            "the connection to the daemon on {} broke off: {error}; look at its log",
            self.socket.display()
        ))
    }

    /// Why nobody could be asked.
    fn unreachable(&self, error: &io::Error) -> Failure {
        let socket = self.socket.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Failure::NoDaemon(format!(
                    "no daemon listens on {socket}: start it with `bridgefwd run --bridge ...`, \
                     or name another one with --netns or --socket"
                ))
            }
            io::ErrorKind::PermissionDenied => Failure::failed(format!(
                "no permission to use {socket}: run this as root, or as a member of the socket's \
                 group"
            )),
            _ => Failure::failed(format!("cannot connect to {socket}: {error}")),
        }
    }

    /// What an answer that is not a success says.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> Failure {
        match serde_json::from_slice(body) {
            Ok(Problem { kind: ProblemKind::Usage, error }) => Failure::Usage(error),
            Ok(Problem { kind: ProblemKind::Failed, error }) => Failure::Failed(error),
            Err(_) => Failure::failed(format!(
                "the daemon on {} answered {status}: {}",
                self.socket.display(),
                String::from_utf8_lossy(body).trim()
            )),
        }
    }
}

fn pair_path(from: &str, to: &str) -> String {
    format!("/v1/pairs/{}/{}", encoded(from), encoded(to))
}

fn flows_path(filter: &FlowFilter) -> String {
    let text = |value: Option<&dyn ToString>| value.map(ToString::to_string);
    path_with(
        "/v1/flows",
        [
            ("from", &filter.from),
            ("to", &filter.to),
            ("proto", &filter.proto),
            ("state", &filter.state),
            ("address", &text(filter.address.as_ref().map(|address| address as _))),
            ("port", &text(filter.port.as_ref().map(|port| port as _))),
            ("limit", &text(filter.limit.as_ref().map(|limit| limit as _))),
            ("after", &text(filter.after.as_ref().map(|after| after as _))),
        ],
    )
}

/// A path with those of the keys that have a value.
fn path_with<const N: usize>(path: &str, query: [(&str, &Option<String>); N]) -> String {
    let query: Vec<String> = query
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", encoded(value.as_deref()?))))
        .collect();
    if query.is_empty() { path.into() } else { format!("{path}?{}", query.join("&")) }
}

/// Interface names may hold anything but blanks and slashes.
fn encoded(name: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(name, ENCODED)
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;

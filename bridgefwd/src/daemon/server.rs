//! The API's server side: each request to the daemon's state or the reader, each answer a document
//! of [`types`](crate::api::types), also where something is wrong.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::serve::Listener;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Shared;
use crate::api::config::ConfigText;
use crate::api::trace::TraceQuery;
use crate::api::types::{
    Cleared, FlowFilter, Leaving, NEXT_FLOWS, PairChange, Problem, ProblemKind,
};
use crate::api::whois::WhoisQuery;
use crate::failure::{Failure, Result};
use crate::metrics::{self, Format};
use crate::web;

/// The longest configuration file, as JSON, in bytes.
const LONGEST_BODY: usize = 16 << 20;

type Daemon = State<Arc<Shared>>;
type Ends = Result<Path<(String, String)>, PathRejection>;

/// Serves until `stop` turns true and the requests under way are answered.
pub async fn serve<L: Listener<Addr: std::fmt::Debug>>(
    listener: L,
    app: Router,
    mut stop: watch::Receiver<bool>,
) {
    let stopped = async move {
        // Also where the sender is gone: then so is the daemon.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
        tracing::error!("a socket that we serve by broke: {error}");
    }
}

/// All that can be asked for.
pub fn all(shared: Arc<Shared>) -> Router {
    reading()
        .route("/v1/pairs/{from}/{to}", put(put_pair).delete(delete_pair))
        .route("/v1/config", get(config))
        .route("/v1/config/plan", post(plan).layer(DefaultBodyLimit::max(LONGEST_BODY)))
        .route("/v1/config/apply", post(apply).layer(DefaultBodyLimit::max(LONGEST_BODY)))
        .route("/v1/down", post(down))
        .route("/v1/events", get(events))
        .route("/v1/trace", get(trace))
        .route("/v1/whois", get(whois))
        .with_state(shared)
}

/// What is there to read.
pub fn reading() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(async || web::page()))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/bridges", get(bridges))
        .route("/v1/pairs", get(pairs))
        .route("/v1/stats", get(stats))
        .route("/v1/flows", get(flows))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(map_response(for_browsers))
}

/// A browser shall take each answer for what it is, and give it to no page but ours.
async fn for_browsers(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("same-origin"));
    answer
}

async fn metrics(State(shared): Daemon, headers: HeaderMap) -> Answer {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    let text = blocking(shared, move |shared| metrics::expose(shared.facts()?, format)).await?;
    Ok(([(CONTENT_TYPE, format.media_type())], text).into_response())
}

async fn status(State(shared): Daemon) -> Answer {
    read(shared, Shared::status).await
}

async fn bridges(State(shared): Daemon) -> Answer {
    read(shared, Shared::bridges).await
}

async fn pairs(State(shared): Daemon) -> Answer {
    read(shared, Shared::pairs).await
}

async fn stats(State(shared): Daemon) -> Answer {
    read(shared, Shared::stats).await
}

async fn flows(State(shared): Daemon, filter: Result<Query<FlowFilter>, QueryRejection>) -> Answer {
    let Query(filter) = filter.map_err(|error| Failure::usage(error.body_text()))?;
    let what = move |shared: &Shared| shared.flows(&filter);
    let (flows, next) = blocking(shared, what).await?;
    let mut answer = json(&flows)?;
    if let Some(next) = next {
        answer.headers_mut().insert(NEXT_FLOWS, next.into());
    }
    Ok(answer)
}

/// What happens from now on, a line of JSON each, until the listener or the daemon goes.
async fn events(State(shared): Daemon) -> Response {
    let journal = shared.state().journal.clone();
    let stop = shared.down.subscribe();
    let lines = super::listener::lines(&journal, stop);
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// What the program says of the packets of two addresses, likewise.
async fn trace(State(shared): Daemon, query: Result<Query<TraceQuery>, QueryRejection>) -> Answer {
    let Query(query) = query.map_err(|error| Failure::usage(error.body_text()))?;
    let journal = shared.state().journal.clone();
    let lines = super::traced::lines(&journal, query, shared.down.subscribe())?;
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

async fn whois(State(shared): Daemon, query: Result<Query<WhoisQuery>, QueryRejection>) -> Answer {
    let Query(query) = query.map_err(|error| Failure::usage(error.body_text()))?;
    read(shared, move |shared| shared.whois(query)).await
}

async fn put_pair(State(shared): Daemon, ends: Ends, body: axum::body::Bytes) -> Answer {
    let Path((from, to)) = ends.map_err(|error| Failure::usage(error.body_text()))?;
    let change: PairChange = serde_json::from_slice(&body).map_err(|error| {
        Failure::usage(format!("the body is not a change of a pair as JSON: {error}"))
    })?;
    let pair = shared.state().put_pair(&from, &to, &change)?;
    tracing::info!("pair {}", crate::views::pairs::sentence(&pair));
    json(&pair)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clearing {
    #[serde(default)]
    drain: bool,
}

async fn delete_pair(
    State(shared): Daemon,
    ends: Ends,
    clearing: Result<Query<Clearing>, QueryRejection>,
) -> Answer {
    let Path((from, to)) = ends.map_err(|error| Failure::usage(error.body_text()))?;
    let Query(Clearing { drain }) = clearing.map_err(|error| Failure::usage(error.body_text()))?;
    let cleared = shared.state().clear_pair(&from, &to, drain)?;
    if cleared {
        tracing::info!("pair {from} -> {to}: cleared");
    }
    json(&Cleared { cleared })
}

async fn config(State(shared): Daemon) -> Answer {
    read(shared, Shared::running_config).await
}

async fn plan(State(shared): Daemon, body: axum::body::Bytes) -> Answer {
    let given = config_text(&body)?;
    read(shared, move |shared| shared.plan(given.as_ref())).await
}

async fn apply(State(shared): Daemon, body: axum::body::Bytes) -> Answer {
    let given = config_text(&body)?;
    read(shared, move |shared| shared.apply(given.as_ref())).await
}

/// A configuration file, or `None` for the daemon's own.
fn config_text(body: &[u8]) -> Result<Option<ConfigText>> {
    if body.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(body).map(Some).map_err(|error| {
        Failure::usage(format!("the body is not a configuration as JSON: {error}"))
    })
}

async fn down(State(shared): Daemon) -> Answer {
    shared.take_down();
    json(&Leaving { pid: std::process::id() })
}

async fn not_found(uri: Uri) -> Wrong {
    Wrong(StatusCode::NOT_FOUND, Failure::usage(format!("there is no {}", uri.path())))
}

async fn wrong_method(method: Method, uri: Uri) -> Wrong {
    let text = format!("{} does not take {method}", uri.path());
    Wrong(StatusCode::METHOD_NOT_ALLOWED, Failure::usage(text))
}

async fn read<T: Serialize + Send + 'static>(
    shared: Arc<Shared>,
    what: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
) -> Answer {
    json(&blocking(shared, what).await?)
}

/// Works on a thread where walking all flows keeps nobody waiting.
async fn blocking<T: Send + 'static>(
    shared: Arc<Shared>,
    what: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(move || what(&shared))
        .await
        .map_err(|error| Failure::failed(format!("reading broke off: {error}")))?
}

type Answer = std::result::Result<Response, Wrong>;

fn json(value: &impl Serialize) -> Answer {
    Ok(Json(value).into_response())
}

/// An answer that is not a success.
pub struct Wrong(StatusCode, Failure);

impl Wrong {
    /// With this status.
    #[must_use]
    pub const fn new(status: StatusCode, why: Failure) -> Self {
        Self(status, why)
    }
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        let status = match failure {
            Failure::Usage(_) => StatusCode::BAD_REQUEST,
            Failure::Failed(_) | Failure::NoDaemon(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, failure)
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        let Self(status, failure) = self;
        let kind = match failure {
            Failure::Usage(_) => ProblemKind::Usage,
            Failure::Failed(_) | Failure::NoDaemon(_) => ProblemKind::Failed,
        };
        (status, Json(Problem { kind, error: failure.to_string() })).into_response()
    }
}

//! What is served by TCP, where `run --metrics` asks for it: what there is to read, and no change of
//! anything.
//!
//! Browsers are among those who ask. A page of somebody else's cannot read the answers, unless its own
//! name is made to lead here; so a request must name us by an address or a name that we know.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use super::Shared;
use super::limited::Limited;
use super::server::{self, Wrong};
use crate::failure::{Failure, Result};

/// Connections that may wait to be taken.
const BACKLOG: u32 = 64;

/// Listens. To be called before anything is changed: an address that cannot be had is a mistake to be
/// told.
///
/// # Errors
///
/// Names the address.
pub fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error| {
        Failure::failed(format!(
            "cannot serve metrics at {address}: {error}; choose another --metrics"
        ))
    })
}

/// Serves until `stop` turns true and the requests under way are answered. `names` are those by which
/// we may be asked, besides addresses, `localhost` and the host's own name.
pub async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    names: Vec<String>,
    stop: watch::Receiver<bool>,
) {
    let names = Arc::new(names.into_iter().chain(own_name()).collect::<Vec<_>>());
    let app = server::reading()
        .layer(middleware::from_fn_with_state(names, check_host))
        .with_state(shared);
    server::serve(Limited::new(listener), app, stop).await;
}

fn own_name() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().map(str::to_owned)
}

async fn check_host(
    State(names): State<Arc<Vec<String>>>,
    request: Request,
    next: Next,
) -> Response {
    match asked_as(&request) {
        Some(host) if is_known(&host, &names) => next.run(request).await,
        host => Wrong::new(
            StatusCode::FORBIDDEN,
            Failure::usage(format!(
                "{} is no name of this host that is known here: ask by address, or have it run with \
                 --metrics-host NAME",
                host.as_deref().unwrap_or("what the request calls it")
            )),
        )
        .into_response(),
    }
}

/// Whom the request is for, without the port: exactly one name.
fn asked_as(request: &Request) -> Option<String> {
    let named = of_headers(request.headers())?;
    // A whole URI in the request line goes before the header.
    let authority = request.uri().authority().cloned().unwrap_or(named);
    Some(authority.host().trim_matches(['[', ']']).to_owned())
}

fn of_headers(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok()?.parse().ok(),
        _ => None,
    }
}

/// An address cannot be made to lead here by others; a name can.
fn is_known(host: &str, names: &[String]) -> bool {
    host.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| host.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn allowed(uri: &str, hosts: &[&str]) -> bool {
        let mut request = axum::http::Request::builder().uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let request = request.body(Body::empty()).unwrap();
        asked_as(&request).is_some_and(|host| is_known(&host, &["router.example".to_owned()]))
    }

    #[test]
    fn only_addresses_and_known_names_lead_here() {
        for host in [
            "127.0.0.1:9477",
            "192.0.2.1",
            "[::1]:9477",
            "localhost:9477",
            "LOCALHOST",
            "router.example:80",
        ] {
            assert!(allowed("/", &[host]), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "a b"]
        {
            assert!(!allowed("/", &[host]), "{host}");
        }
        assert!(!allowed("/", &[]));
        assert!(!allowed("/", &["127.0.0.1", "127.0.0.1"]));
        assert!(!allowed("http://evil.example/", &["127.0.0.1"]));
    }
}
